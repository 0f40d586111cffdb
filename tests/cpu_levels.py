#!/usr/bin/env python3
"""The same binaries on emulated x86-64 CPUs that lack what this one has: cpu_levels.py --build build/dev

An instruction beyond the emulated CPU's level ends a program with SIGILL, so what passes here reaches
none. The emulator (QEMU 7.2) knows AVX2 and no AVX-512; a CPU without AVX2 gets `ref`.
"""

import argparse
import json
import os
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
# CPU of the emulator, the level that must be chosen there.
CPUS = [("Nehalem", "ref"), ("Haswell", "avx2")]
TESTS = ["base_test", "engine_tensor_test", "engine_kernels_test", "engine_kernels_rows_test"]
CASES = ["llama-bf16", "gguf-q4_0/model.gguf", "gguf-kquants/model.gguf", "qwen3"]
IDS = "1,2,3,5,8,13,21"


def logits(command):
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600, check=False)
    if done.returncode != 0:
        return None, f"exit {done.returncode}: {done.stderr.strip()[-300:]}"
    return json.loads(done.stdout)["logits"][0], ""


def check_case(binary, emulator, level, case):
    """Chosen by itself over there, forced here: the same distribution but for the C library's exp."""
    command = [binary, "logits", "--model", os.path.join("tests/fixtures/models", case), "--ids", IDS, "--threads", "2"]
    there, problem = logits(emulator + command)
    if there is None:
        return problem
    here, problem = logits(command + ["--isa", level])
    if here is None:
        return problem
    scale = max(map(abs, here))
    error = max(abs(a - b) for a, b in zip(there, here)) / scale
    return "" if error < 1e-5 else f"differs from --isa {level} here by {error:.1e}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--build", default="build/dev")
    args = parser.parse_args()
    build = os.path.join(ROOT, args.build)
    passed = failed = 0
    for cpu, level in CPUS:
        emulator = ["qemu-x86_64-static", "-cpu", cpu]
        results = []
        for name in TESTS:
            done = subprocess.run([*emulator, os.path.join(build, "tests", name)], cwd=ROOT, capture_output=True,
                                  text=True, timeout=1800, check=False)
            last = "\n".join((done.stdout + done.stderr).strip().splitlines()[-5:])
            results.append((name, "" if done.returncode == 0 else f"exit {done.returncode}\n{last}"))
        for case in CASES:
            results.append((case, check_case(os.path.join(build, "inhouse"), emulator, level, case)))
        for name, problem in results:
            print(f"{cpu} {name}: {problem or 'good'}", flush=True)
            passed, failed = passed + (not problem), failed + bool(problem)
    print(f"cpu-levels: {passed} passed, {failed} failed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
