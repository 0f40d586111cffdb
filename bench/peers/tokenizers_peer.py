#!/usr/bin/env python3
"""inhouse beside Hugging Face `tokenizers`, one core each: tokenizers_peer.py [--text FILE] [NAME...]

Every tokenizer of build/tokenizers (INHOUSE_TOKENIZERS) that has a tokenizer.json; the text is
tests/conformance/mixed_text.py's unless a file is given. INHOUSE_TOKENIZER_BENCH names the binary
(default: build/dev/bench/tokenizer_bench).
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time

os.environ["RAYON_NUM_THREADS"] = "1"
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
sys.path.insert(0, os.path.join(ROOT, "tests/conformance"))
import mixed_text

STORE = os.environ.get("INHOUSE_TOKENIZERS", os.path.join(ROOT, "build/tokenizers"))
BENCH = os.environ.get("INHOUSE_TOKENIZER_BENCH", os.path.join(ROOT, "build/dev/bench/tokenizer_bench"))


def cpu():
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.split(":", 1)[1].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def peer_speed(path, text, repeat):
    tokenizer = tokenizers.Tokenizer.from_file(path)
    size = len(text.encode())
    speeds = []
    for _ in range(repeat):
        start = time.perf_counter()
        # The library slows down on long texts; paragraphs are how it is used.
        for begin in range(0, len(text), 4096):
            tokenizer.encode(text[begin : begin + 4096], add_special_tokens=False)
        speeds.append(size / (time.perf_counter() - start) / 1e6)
    return speeds


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--text", help="a file in UTF-8")
    parser.add_argument("--chars", type=int, default=1_000_000)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("names", nargs="*")
    options = parser.parse_args()
    if options.text:
        with open(options.text, encoding="utf-8", newline="") as file:
            text = file.read()
    else:
        text = "".join(mixed_text.texts(options.chars, 1))
    print(f"{cpu()}; tokenizers {tokenizers.__version__}; {len(text)} characters, {len(text.encode())} bytes; MB/s as min/median/max")
    with tempfile.NamedTemporaryFile() as file:
        file.write(text.encode())
        file.flush()
        for name in options.names or sorted(os.listdir(STORE)):
            directory = os.path.join(STORE, name)
            single = os.path.join(directory, f"{name}.gguf")
            done = subprocess.run([BENCH, single if os.path.exists(single) else directory, file.name, str(options.repeat)], capture_output=True,
                                  text=True, check=True)
            own = json.loads(done.stdout)
            line = f"{name:15} inhouse {own['encode_mb_s']['min']:6.2f}/{own['encode_mb_s']['median']:6.2f}/{own['encode_mb_s']['max']:6.2f}"
            line += f" (first {own['first_mb_s']:6.2f}, decode {own['decode_mb_s']['median']:.0f}, load {own['load_seconds']:.2f} s)"
            path = os.path.join(directory, "tokenizer.json")
            if os.path.exists(path):
                peer = peer_speed(path, text, max(1, options.repeat // 2))
                line += f"  tokenizers {min(peer):5.2f}/{statistics.median(peer):5.2f}/{max(peer):5.2f}"
                line += f"  ratio {own['encode_mb_s']['median'] / statistics.median(peer):5.1f}"
            print(line)


if __name__ == "__main__":
    main()
