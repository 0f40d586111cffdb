#!/usr/bin/env python3
"""vLLM's CPU build through its offline API: prefill and decode of one sequence, tokens per second as JSON.

The time of a prompt is that of one generated token; a decode step is the difference of two lengths."""

import argparse
import json
import os
import random
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prompt-tokens", type=int, default=512)
parser.add_argument("--generate-tokens", type=int, default=64)


def main():
    args = parser.parse_args()
    os.environ.setdefault("VLLM_CPU_KVCACHE_SPACE", "2")
    os.environ.setdefault("VLLM_CPU_OMP_THREADS_BIND", f"0-{args.threads - 1}")
    os.environ.setdefault("HF_HUB_OFFLINE", "1")
    import vllm

    llm = vllm.LLM(model=args.model, skip_tokenizer_init=True, dtype="bfloat16", max_num_seqs=16,
                   max_model_len=args.prompt_tokens + args.generate_tokens + 16, enable_prefix_caching=False)
    rng = random.Random(1)

    def seconds(prompt, tokens):
        options = vllm.SamplingParams(temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False)
        ids = [rng.randrange(1000, 30000) for _ in range(prompt)]
        start = time.perf_counter()
        llm.generate([{"prompt_token_ids": ids}], options, use_tqdm=False)
        return time.perf_counter() - start

    seconds(args.prompt_tokens, 4)  # warm-up
    prefill = args.prompt_tokens / seconds(args.prompt_tokens, 1)
    short = seconds(8, 1)
    decode = args.generate_tokens / (seconds(8, args.generate_tokens + 1) - short)
    print("\n" + json.dumps({"version": vllm.__version__, "prefill": prefill, "decode": decode}), flush=True)


if __name__ == "__main__":
    main()
