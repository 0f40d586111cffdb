#!/usr/bin/env python3
"""llama.cpp's raw prefill and decode speed, through the C API of its prebuilt library.

    llama_cpp.py --libs DIR --model FILE --threads 2 --prompt-tokens 512 --generate-tokens 128 --batch 16 --depth 16384

Prints one JSON line: {"version", "backend", "prefill", "decode", "decode_batch", "decode_depth", ...} in
tokens per second (of all sequences together). With --doctor PATH, the inhouse binary, also "memory_read_gb_s":
what it says that the memory reads, [before, after] each decode phase. As in llama-bench, no
sampling is timed: decode feeds random ids, from an empty cache except for decode_depth.
"""

import argparse
import ctypes as c
import json
import os
import random
import resource
import subprocess
import sys
import time

import llama_state


class Params(c.Structure):
    """llama_model_params or llama_context_params. The library fills the struct with its defaults
    and gets it back; only the leading n_ctx, n_batch, n_ubatch, n_seq_max of the latter are set here,
    and flash_attn_type, which is found by its neighbours. The rest may differ from release to release,
    as long as it fits."""

    _fields_ = [("words", c.c_uint32 * 128)]


class Batch(c.Structure):
    _fields_ = [("n_tokens", c.c_int32), ("token", c.c_void_p), ("embd", c.c_void_p), ("pos", c.c_void_p),
                ("n_seq_id", c.c_void_p), ("seq_id", c.c_void_p), ("logits", c.c_void_p)]


SIGNATURES = {
    "llama_model_default_params": (Params, []),
    "llama_context_default_params": (Params, []),
    "llama_model_load_from_file": (c.c_void_p, [c.c_char_p, Params]),
    "llama_init_from_model": (c.c_void_p, [c.c_void_p, Params]),
    "llama_free": (None, [c.c_void_p]),
    "llama_set_n_threads": (None, [c.c_void_p, c.c_int32, c.c_int32]),
    "llama_model_get_vocab": (c.c_void_p, [c.c_void_p]),
    "llama_vocab_n_tokens": (c.c_int32, [c.c_void_p]),
    "llama_n_ctx": (c.c_uint32, [c.c_void_p]),
    "llama_n_ubatch": (c.c_uint32, [c.c_void_p]),
    "llama_n_seq_max": (c.c_uint32, [c.c_void_p]),
    "llama_decode": (c.c_int32, [c.c_void_p, Batch]),
    "llama_synchronize": (None, [c.c_void_p]),
    "llama_get_memory": (c.c_void_p, [c.c_void_p]),
    "llama_memory_clear": (None, [c.c_void_p, c.c_bool]),
    "llama_memory_seq_pos_max": (c.c_int32, [c.c_void_p, c.c_int32]),
    "llama_state_seq_get_size": (c.c_size_t, [c.c_void_p, c.c_int32]),
    "llama_state_seq_get_data": (c.c_size_t, [c.c_void_p, c.c_void_p, c.c_size_t, c.c_int32]),
    "llama_state_seq_set_data": (c.c_size_t, [c.c_void_p, c.c_void_p, c.c_size_t, c.c_int32]),
    "llama_log_set": (None, [c.c_void_p, c.c_void_p]),
}
QUIET = c.CFUNCTYPE(None, c.c_int, c.c_char_p, c.c_void_p)(lambda level, text, data: None)
AUTO = 0xFFFFFFFF  # -1


def set_flash_attention(params, value):
    """rope scaling, pooling, attention and flash attention types stand together, all -1 by default."""
    words = list(params.words)
    for i in range(4, 12):
        if words[i:i + 4] == [AUTO] * 4:
            params.words[i + 3] = value
            return
    raise SystemExit("llama.cpp's context parameters have changed: no flash_attn_type")


class LlamaCpp:
    def __init__(self, libs, model, threads, backend=None):
        names = sorted(os.listdir(libs))
        self.version = next(n for n in names if n.startswith("libllama.")).removeprefix("libllama.").removesuffix(".so")
        ggml = c.CDLL(os.path.join(libs, next(n for n in names if n.startswith("libggml."))), c.RTLD_GLOBAL)
        self.lib = c.CDLL(os.path.join(libs, f"libllama.{self.version}.so"), c.RTLD_GLOBAL)
        for name, (result, arguments) in SIGNATURES.items():
            function = getattr(self.lib, name)
            function.restype, function.argtypes = result, arguments
        self.lib.llama_log_set(QUIET, None)
        if backend:
            ggml.ggml_backend_load.argtypes, ggml.ggml_backend_load.restype = [c.c_char_p], c.c_void_p
            if not ggml.ggml_backend_load(os.path.join(libs, f"libggml-cpu-{backend}.so").encode()):
                raise SystemExit(f"llama.cpp has no CPU backend '{backend}' that runs here")
        else:
            ggml.ggml_backend_load_all_from_path.argtypes = [c.c_char_p]
            ggml.ggml_backend_load_all_from_path(libs.encode())
        start = time.perf_counter()
        self.model = self.lib.llama_model_load_from_file(model.encode(), self.lib.llama_model_default_params())
        if not self.model:
            raise SystemExit(f"llama.cpp cannot load {model}")
        self.load_seconds = time.perf_counter() - start
        self.threads = threads
        self.context = None
        self.n_vocab = self.lib.llama_vocab_n_tokens(self.lib.llama_model_get_vocab(self.model))
        self.rng = random.Random(1)

    def open(self, n_ctx, sequences=1, flash=None):
        """A context with an empty cache for `sequences` sequences of n_ctx tokens each."""
        if self.context:
            self.lib.llama_free(self.context)
        total = n_ctx * sequences
        params = self.lib.llama_context_default_params()
        params.words[0], params.words[1], params.words[2], params.words[3] = total, 512, 512, sequences
        if flash is not None:
            set_flash_attention(params, flash)
        self.context = self.lib.llama_init_from_model(self.model, params)
        if not self.context or self.lib.llama_n_ctx(self.context) < total or self.lib.llama_n_ubatch(
                self.context) != 512 or self.lib.llama_n_seq_max(self.context) != sequences:
            raise SystemExit("llama.cpp did not take n_ctx, n_batch, n_ubatch, n_seq_max: its struct has changed")
        self.lib.llama_set_n_threads(self.context, self.threads, self.threads)
        self.memory = self.lib.llama_get_memory(self.context)

    def feed(self, rows):
        """Computes (position, sequence) rows with random ids; the last row of each sequence gives logits."""
        n = len(rows)
        last = {sequence: i for i, (_, sequence) in enumerate(rows)}
        ids = (c.c_int32 * n)(*[self.rng.randrange(self.n_vocab) for _ in range(n)])
        positions = (c.c_int32 * n)(*[p for p, _ in rows])
        counts = (c.c_int32 * n)(*[1] * n)
        each = [(c.c_int32 * 1)(s) for _, s in rows]
        sequences = (c.c_void_p * n)(*[c.addressof(s) for s in each])
        wanted = (c.c_int8 * n)(*[int(last[s] == i) for i, (_, s) in enumerate(rows)])
        batch = Batch(n, c.addressof(ids), None, c.addressof(positions), c.addressof(counts), c.addressof(sequences),
                      c.addressof(wanted))
        if self.lib.llama_decode(self.context, batch) != 0:
            raise SystemExit("llama_decode failed")
        self.lib.llama_synchronize(self.context)

    def clear(self):
        self.lib.llama_memory_clear(self.memory, True)

    def prefill(self, tokens):
        self.clear()
        start = time.perf_counter()
        for first in range(0, tokens, 512):
            self.feed([(p, 0) for p in range(first, min(first + 512, tokens))])
        return tokens / (time.perf_counter() - start)

    def decode(self, tokens, sequences=1, depth=0):
        start = time.perf_counter()
        for position in range(depth, depth + tokens):
            self.feed([(position, s) for s in range(sequences)])
        return tokens * sequences / (time.perf_counter() - start)

    def fill(self, depth, seed=64):
        """Puts `depth` tokens into the cache of sequence 0: computes a few and repeats them as a saved state."""
        self.clear()
        self.feed([(p, 0) for p in range(seed)])
        size = self.lib.llama_state_seq_get_size(self.context, 0)
        state = c.create_string_buffer(size)
        self.lib.llama_state_seq_get_data(self.context, state, size, 0)
        longer = llama_state.repeat(memoryview(state).cast("B"), seed, depth)
        self.clear()
        buffer = (c.c_char * len(longer)).from_buffer(longer)
        taken = self.lib.llama_state_seq_set_data(self.context, buffer, len(longer), 0)
        if taken != len(longer) or self.lib.llama_memory_seq_pos_max(self.memory, 0) != depth - 1:
            raise SystemExit("llama.cpp did not take the repeated state: its format has changed")


def loaded_backend():
    """The CPU variant that the library chose, as the file names say it (zen4, haswell, …)."""
    with open("/proc/self/maps", encoding="utf-8") as maps:
        names = {os.path.basename(line.split()[-1]) for line in maps if "libggml-cpu-" in line}
    return ", ".join(sorted(n.removeprefix("libggml-cpu-").removesuffix(".so") for n in names))


def at_depth(peer, args):
    """The faster of flash attention on and off, as a user would choose it."""
    best = {}
    for flash in (1, 0):
        peer.open(args.depth + args.generate_tokens + 8, flash=flash)
        peer.fill(args.depth)
        peer.decode(2, depth=args.depth)
        rate = peer.decode(args.depth_tokens, depth=args.depth + 2)
        if rate > best.get("decode_depth", 0):
            best = {"decode_depth": rate, "depth_flash_attention": bool(flash)}
    return best


class ReadSpeed:
    """What the memory reads before and after each phase, by `inhouse doctor`."""

    def __init__(self, doctor):
        self.doctor = doctor
        self.last = self.sample()
        self.of = {}

    def sample(self):
        if not self.doctor:
            return None
        done = subprocess.run([self.doctor, "doctor", "--json"], capture_output=True, text=True, check=True)
        return json.loads(done.stdout)["limits"]["memory_read_gb_s"]

    def end(self, phase):
        before, self.last = self.last, self.sample()
        if self.doctor:
            self.of[phase] = [before, self.last]


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--libs", required=True, help="folder with libllama.*.so and libggml-*.so")
    parser.add_argument("--model", required=True)
    parser.add_argument("--backend", help="of libggml-cpu-*.so, for example haswell (default: the best that runs here)")
    parser.add_argument("--doctor", help="the inhouse binary, to measure the memory's speed beside each decode phase")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=128)
    parser.add_argument("--batch", type=int, default=0, help="sequences that decode together; 0 = leave out")
    parser.add_argument("--batch-tokens", type=int, default=32, help="tokens of each")
    parser.add_argument("--depth", type=int, default=0, help="tokens in the cache; 0 = leave out")
    parser.add_argument("--depth-tokens", type=int, default=16)
    args = parser.parse_args()
    peer = LlamaCpp(os.path.abspath(args.libs), args.model, args.threads, args.backend)
    peer.open(max(args.prompt_tokens, args.generate_tokens + 4, 512))
    peer.prefill(min(args.prompt_tokens, 128))  # warm-up: page faults, repacking, thread pool
    peer.clear()
    peer.decode(4)
    result = {"version": peer.version, "backend": loaded_backend(), "threads": args.threads,
              "load_seconds": peer.load_seconds, "prefill": peer.prefill(args.prompt_tokens)}
    peer.clear()
    read = ReadSpeed(args.doctor)
    result["decode"] = peer.decode(args.generate_tokens)
    read.end("decode")
    result["peak_rss_bytes"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if args.batch:
        peer.open(max(args.batch_tokens + 4, 64), sequences=args.batch)
        peer.decode(2, sequences=args.batch)
        result["decode_batch"] = peer.decode(args.batch_tokens, sequences=args.batch, depth=2)
        read.end("decode_batch")
    if args.depth:
        result.update(at_depth(peer, args))
        read.end("decode_depth")
    result["memory_read_gb_s"] = read.of
    print(json.dumps(result))
    sys.stdout.flush()
    os._exit(0)  # the library's own threads need no farewell


if __name__ == "__main__":
    main()
