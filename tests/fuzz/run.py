#!/usr/bin/env python3
"""Runs every libFuzzer target of build/fuzz for a while: tests/fuzz/run.py [--seconds N] [TARGET…]

Seeds stand in tests/fuzz/corpus/<target>/, what libFuzzer finds on the way in build/fuzz/corpus/.
An input that breaks a target is left in build/fuzz/findings/; make it a seed and a unit test.
"""

import argparse
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.path.join(ROOT, "build/fuzz")


def run(name, seconds):
    grown = os.path.join(BUILD, "corpus", name)
    findings = os.path.join(BUILD, "findings")
    os.makedirs(grown, exist_ok=True)
    os.makedirs(findings, exist_ok=True)
    seeds = os.path.join(ROOT, "tests/fuzz/corpus", name)
    command = [os.path.join(BUILD, "fuzz", name), f"-max_total_time={seconds}", "-timeout=10", "-seed=1",
               "-rss_limit_mb=2048", "-print_final_stats=1", "-verbosity=0",
               f"-artifact_prefix={findings}/{name}-", grown]
    if os.path.isdir(seeds):
        command.append(seeds)
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, errors="replace", check=False)
    runs = re.search(r"number_of_executed_units:\s*(\d+)", done.stderr)
    if done.returncode == 0:
        print(f"{name}: {int(runs.group(1)) if runs else 0} inputs in {seconds} s", flush=True)
        return True
    print(f"{name}: FINDING\n" + "\n".join(done.stderr.splitlines()[-60:]), flush=True)
    return False


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--seconds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2, help="targets at a time")
    parser.add_argument("targets", nargs="*")
    args = parser.parse_args()
    folder = os.path.join(BUILD, "fuzz")
    names = args.targets or sorted(f for f in os.listdir(folder) if os.access(os.path.join(folder, f), os.X_OK))
    if not names:
        sys.exit(f"no target in {folder}: build --target fuzzers first")
    with ThreadPoolExecutor(max_workers=max(args.jobs, 1)) as pool:
        good = list(pool.map(lambda name: run(name, args.seconds), names))
    print(f"fuzz: {sum(good)} passed, {len(good) - sum(good)} failed")
    return 0 if all(good) else 1


if __name__ == "__main__":
    sys.exit(main())
