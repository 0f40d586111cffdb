#!/usr/bin/env python3
"""OpenVINO GenAI on a GGUF file: prefill and decode of one sequence, tokens per second as JSON.

Its own GGUF reader is used; it needs the file's tokenizer, so files with random weights are not for it."""

import argparse
import json
import random
import time

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--model", required=True)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--prompt-tokens", type=int, default=512)
parser.add_argument("--generate-tokens", type=int, default=64)


def main():
    args = parser.parse_args()
    import os

    import numpy as np
    import openvino
    import openvino_genai

    pipe = openvino_genai.LLMPipeline(os.path.realpath(args.model), "CPU", INFERENCE_NUM_THREADS=args.threads)
    rng = random.Random(1)

    def seconds(prompt, tokens):
        ids = openvino.Tensor(np.array([[rng.randrange(100, 30000) for _ in range(prompt)]], np.int64))
        mask = openvino.Tensor(np.ones((1, prompt), np.int64))
        options = openvino_genai.GenerationConfig(max_new_tokens=tokens, ignore_eos=True)
        start = time.perf_counter()
        pipe.generate(openvino_genai.TokenizedInputs(ids, mask), options)
        return time.perf_counter() - start

    seconds(args.prompt_tokens, 4)  # warm-up
    prefill = args.prompt_tokens / seconds(args.prompt_tokens, 1)
    short = seconds(8, 1)
    decode = args.generate_tokens / (seconds(8, args.generate_tokens + 1) - short)
    print("\n" + json.dumps({"version": openvino_genai.__version__, "prefill": prefill, "decode": decode}), flush=True)


if __name__ == "__main__":
    main()
