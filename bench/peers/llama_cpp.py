#!/usr/bin/env python3
"""llama.cpp's raw prefill and decode speed, through the C API of its prebuilt library.

    llama_cpp.py --libs DIR --model FILE --threads 2 --prompt-tokens 512 --generate-tokens 128

Prints one JSON line: {"version", "backend", "prefill": tokens per second, "decode": the same, ...}.
As in llama-bench, no sampling is timed: decode feeds random ids one by one from an empty context.
"""

import argparse
import ctypes as c
import json
import os
import random
import resource
import sys
import time


class Params(c.Structure):
    """llama_model_params or llama_context_params. The library fills the struct with its defaults
    and gets it back; only the leading n_ctx, n_batch and n_ubatch of the latter are set here, so
    the rest may differ from release to release, as long as it fits."""

    _fields_ = [("words", c.c_uint32 * 128)]


class Batch(c.Structure):
    _fields_ = [("n_tokens", c.c_int32), ("token", c.c_void_p), ("embd", c.c_void_p), ("pos", c.c_void_p),
                ("n_seq_id", c.c_void_p), ("seq_id", c.c_void_p), ("logits", c.c_void_p)]


SIGNATURES = {
    "llama_model_default_params": (Params, []),
    "llama_context_default_params": (Params, []),
    "llama_model_load_from_file": (c.c_void_p, [c.c_char_p, Params]),
    "llama_init_from_model": (c.c_void_p, [c.c_void_p, Params]),
    "llama_set_n_threads": (None, [c.c_void_p, c.c_int32, c.c_int32]),
    "llama_model_get_vocab": (c.c_void_p, [c.c_void_p]),
    "llama_vocab_n_tokens": (c.c_int32, [c.c_void_p]),
    "llama_n_ctx": (c.c_uint32, [c.c_void_p]),
    "llama_n_ubatch": (c.c_uint32, [c.c_void_p]),
    "llama_batch_get_one": (Batch, [c.POINTER(c.c_int32), c.c_int32]),
    "llama_decode": (c.c_int32, [c.c_void_p, Batch]),
    "llama_synchronize": (None, [c.c_void_p]),
    "llama_get_memory": (c.c_void_p, [c.c_void_p]),
    "llama_memory_clear": (None, [c.c_void_p, c.c_bool]),
    "llama_log_set": (None, [c.c_void_p, c.c_void_p]),
    "llama_print_system_info": (c.c_char_p, []),
}
QUIET = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(lambda level, text, data: None)


class LlamaCpp:
    def __init__(self, libs, model, threads, n_ctx):
        names = sorted(os.listdir(libs))
        self.version = next(n for n in names if n.startswith("libllama.")).removeprefix("libllama.").removesuffix(".so")
        ggml = c.CDLL(os.path.join(libs, next(n for n in names if n.startswith("libggml."))), c.RTLD_GLOBAL)
        self.lib = c.CDLL(os.path.join(libs, f"libllama.{self.version}.so"), c.RTLD_GLOBAL)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments
        self.lib.llama_log_set(QUIET, None)
        ggml.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
        ggml.ggml_backend_load_all_from_path(libs.encode())
        self.model = self.lib.llama_model_load_from_file(model.encode(), self.lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {model}")
        params = self.lib.llama_context_default_params()
        params.words[0], params.words[1], params.words[2] = n_ctx, 512, 512
        self.context = self.lib.llama_init_from_model(self.model, params)
        if not self.context or self.lib.llama_n_ctx(self.context) < n_ctx or self.lib.llama_n_ubatch(self.context) != 512:
            raise SystemExit("llama.cpp did not take n_ctx, n_batch, n_ubatch: its struct has changed")
        self.lib.llama_set_n_threads(self.context, threads, threads)
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))

    def feed(self, ids):
        array = (c.c_int32 * len(ids))(*ids)
        if self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(array, len(ids))) != 0:
            raise SystemExit("llama_decode failed")
        self.lib.llama_synchronize(self.context)

    def clear(self):
        self.lib.llama_memory_clear(self.lib.llama_get_memory(self.context), True)

    def prefill(self, ids):
        self.clear()
        start = time.perf_counter()
        for first in range(0, len(ids), 512):
            self.feed(ids[first:first + 512])
        return len(ids) / (time.perf_counter() - start)

    def decode(self, ids):
        self.clear()
        start = time.perf_counter()
        for token in ids:
            self.feed([token])
        return len(ids) / (time.perf_counter() - start)


def loaded_backend():
    """The CPU variant that the library chose, as the file names say it (zen4, haswell, …)."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        names = {os.path.basename(line.split()[-1]) for line in maps if "libggml-cpu-" in line}
    return ", ".join(sorted(n.removeprefix("libggml-cpu-").removesuffix(".so") for n in names))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--libs", required=True, help="folder with libllama.*.so and libggml-*.so")
    parser.add_argument("--model", required=True)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=128)
    args = parser.parse_args()
    peer = LlamaCpp(os.path.abspath(args.libs), args.model, args.threads, max(args.prompt_tokens, args.generate_tokens, 512))
    rng = random.Random(1)
    ids = [rng.randrange(peer.n_vocab) for _ in range(max(args.prompt_tokens, args.generate_tokens))]
    peer.prefill(ids[:args.prompt_tokens])  # warm-up: page faults, repacking, thread pool
    peer.decode(ids[:4])
    result = {"version": peer.version, "backend": loaded_backend(), "threads": args.threads,
              "prefill": peer.prefill(ids[:args.prompt_tokens]), "decode": peer.decode(ids[:args.generate_tokens]),
              "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # the library's own threads need no farewell


if __name__ == "__main__":
    main()
