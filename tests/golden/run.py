#!/usr/bin/env python3
"""The engine against the reference implementation: tests/golden/run.py [--isa LEVEL] [CASE…]

For every case of tests/fixtures/models and tests/fixtures/adapters and every kernel level of this machine: the logits of three
prompts, fed whole, seven tokens at a time and token by token; the greedy continuation; and the same
bytes with one thread and with two. INHOUSE_BIN names the binary (default: build/dev/inhouse).
"""

import argparse
import json
import os
import platform
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
MODELS = os.path.join(ROOT, "tests/fixtures/models")
ADAPTERS = os.path.join(ROOT, "tests/fixtures/adapters")
BINARY = os.environ.get("INHOUSE_BIN", os.path.join(ROOT, "build/dev/inhouse"))
PROMPTS = ("p0", "p1", "p2")
LEVELS = (("ref", "neon", "neondot", "neoni8mm") if platform.machine() == "aarch64" else
          ("ref", "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16"))


# How a model is run beside its defaults, and what the rounding may add: of each key and value to 2^-8 and 2^-4, and of the
# activations that meet integer weights to 2^-7 of the largest in their group, which the softmax magnifies in these small models
# (decision 0008).
WAYS = {"default": ((), 0.0), "kv bf16": (("--kv-type", "bf16"), 3e-2), "kv fp8": (("--kv-type", "fp8"), 3e-1),
        "8-bit activations": (("--activation-bits", "8"), 6e-2)}
FLOAT_WEIGHTS = ("f32", "f16", "bf16", "fp8")


def tolerance(weights, level):
    """Largest error of a row: its largest difference over the largest |logit| of the prompt.

    The reference is float64 on the stored weights. `ref` differs by float32 summation only. A fast
    level may round an activation to BF16 once for each product (BF16 and FP8 weights: 8 bits of mantissa), or
    quantize it to INT8 in groups (GGUF blocks: 7 bits and a shared scale).
    """
    if level == "ref" or weights in ("f32", "f16"):
        return 1e-4
    return 1e-2 if weights in ("bf16", "fp8") else 3e-2


def run(*arguments):
    done = subprocess.run([BINARY, *arguments], capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"inhouse {' '.join(arguments)}\nexit {done.returncode}: {done.stderr.strip()[-500:]}")
    return done.stdout


def expected_of(case):
    folder = ADAPTERS if os.path.exists(os.path.join(ADAPTERS, case)) else MODELS
    return np.load(os.path.join(folder, case, "expected.npz"))


def model_of(case):
    """The flags that name a model, or a model and its adapter."""
    if os.path.exists(os.path.join(ADAPTERS, case)):
        return (*model_of(str(expected_of(case)["base"])), "--adapter", os.path.join(ADAPTERS, case))
    gguf = os.path.join(MODELS, case, "model.gguf")
    return ("--model", gguf if os.path.exists(gguf) else os.path.join(MODELS, case))


def check_logits(case, golden, level, flags, limit):
    worst = 0
    for prompt in PROMPTS:
        ids = ",".join(map(str, golden[prompt + ".ids"]))
        base = ("logits", *model_of(case), "--ids", ids, "--all", "--isa", level, *flags)
        expected, rows = golden[prompt + ".logits"], golden[prompt + ".rows"]
        for chunk in ((), ("--chunk", "7"), ("--chunk", "1")) if prompt != "p0" else ((),):
            text = run(*base, *chunk, "--threads", "1")
            logits = np.array(json.loads(text)["logits"], np.float64)
            if len(logits) != len(golden[prompt + ".ids"]):
                raise AssertionError(f"{prompt}: {len(logits)} rows for {len(golden[prompt + '.ids'])} ids")
            error = np.abs(logits[rows] - expected).max() / golden[prompt + ".scale"]
            worst = max(worst, error)
            if not error <= limit:
                raise AssertionError(f"{prompt} {' '.join(chunk)}: error {error:.2e}, at most {limit:.0e}")
            if not chunk and prompt == "p2" and run(*base, "--threads", "2") != text:
                raise AssertionError(f"{prompt}: one thread and two give different bytes")
    return worst


def check_greedy(case, golden, level):
    for prompt in PROMPTS:
        ids = ",".join(map(str, golden[prompt + ".ids"]))
        expected = golden[prompt + ".greedy"].tolist()
        out = json.loads(run("generate", *model_of(case), "--ids", ids, "--max-tokens", str(len(expected)),
                             "--temperature", "0", "--ignore-eos", "--json", "--isa", level, "--threads", "1"))
        if out["ids"] != expected:
            raise AssertionError(f"{prompt}: greedy ids {out['ids']}, expected {expected}")


def check(case, level, way):
    """One test: (line to print, whether it is good)."""
    golden = expected_of(case)
    flags, more = WAYS[way]
    limit = max(tolerance(str(golden["weights"]), level), more)
    name = f"{case} {level}" + ("" if way == "default" else f" {way}")
    try:
        worst = check_logits(case, golden, level, flags, limit)
        # Rounding within the tolerance may turn a lead of less than twice of it.
        greedy = way == "default" and float(golden["margin"]) > 2 * limit
        if greedy:
            check_greedy(case, golden, level)
    except (AssertionError, RuntimeError, ValueError, KeyError, subprocess.TimeoutExpired) as problem:
        return f"{name}: FAILED {problem}", False
    return f"{name}: error {worst:.1e} of {limit:.0e}{'' if greedy else ', greedy not judged'}", True


def supported(level):
    ids = ("--ids", "1")
    done = subprocess.run([BINARY, "logits", *model_of("llama"), *ids, "--isa", level],
                          capture_output=True, text=True, check=False)
    return done.returncode == 0


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--isa", action="append", choices=LEVELS, help="only this level")
    parser.add_argument("--way", action="append", choices=WAYS, help="run in this way only")
    parser.add_argument("-v", "--verbose", action="store_true", help="print the error of every case")
    parser.add_argument("cases", nargs="*")
    args = parser.parse_args()
    cases = args.cases or sorted(os.listdir(MODELS)) + sorted(os.listdir(ADAPTERS))
    levels = [level for level in args.isa or LEVELS if level == "ref" or supported(level)]
    runs = [(case, way) for way in args.way or WAYS for case in cases
            if way != "8-bit activations" or str(expected_of(case)["weights"]) not in FLOAT_WEIGHTS]
    skipped = len(runs) * (len(args.isa or LEVELS) - len(levels))
    print(f"{len(cases)} cases at {', '.join(levels)}")
    tests = [(case, level, way) for level in levels for case, way in runs]
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        results = list(pool.map(lambda test: check(*test), tests))
    for line, good in results:
        if not good or args.verbose:
            print(line)
    for level in levels:
        lines = [good for (_, at, _), (_, good) in zip(tests, results) if at == level]
        print(f"{level}: {sum(lines)} of {len(lines)} cases within their tolerance")
    failed = sum(not good for _, good in results)
    print(f"golden: {len(results) - failed} passed, {failed} failed, {skipped} skipped")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
