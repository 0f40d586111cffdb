#!/usr/bin/env python3
"""Gaps between the tokens of a stream while prefixes are written to disk, beside the same without a disk.

Long prompts end, one after another, while somebody reads a stream; after each the tier has tens of megabytes to encrypt
and to write. Only gaps within 300 ms after the end of a prompt count: before it, the prompt is computed.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/conformance"))
from prefix import disk_flags, first_token  # noqa: E402
from serving import BINARY, Serving  # noqa: E402

WINDOW = 0.3


def stream(server, ids, stop, arrivals):
    """Appends the time of each event of a stream, until `stop` is set."""
    body = json.dumps({"model": Serving.NAME, "prompt": ids, "max_tokens": 6000, "ignore_eos": True, "temperature": 0,
                       "stream": True})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    for line in connection.getresponse():
        if line.startswith(b"data: {"):
            arrivals.append(time.perf_counter())
        if stop.is_set():
            break
    connection.close()


def measure(flags, rounds, tokens):
    rng = random.Random(3)
    arrivals, ends, stop = [], [], threading.Event()
    with Serving(*flags) as server:
        reader = threading.Thread(target=stream, args=(server, [rng.randrange(1000, 40000) for _ in range(8)], stop, arrivals))
        reader.start()
        for _ in range(rounds):
            first_token(server, [rng.randrange(1000, 40000) for _ in range(tokens)])
            ends.append(time.perf_counter())
            time.sleep(WINDOW)
        stop.set()
        reader.join()
        written = server.metric("inhouse_kv_disk_bytes")
    gaps = sorted((b - a) * 1000 for a, b in zip(arrivals, arrivals[1:]) if any(e < a and b < e + WINDOW for e in ends))
    return gaps, written


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=1024)
    options = parser.parse_args()
    print(f"{os.path.relpath(BINARY)}, {options.rounds} prompts of {options.tokens} tokens")
    with tempfile.TemporaryDirectory() as place:
        for name, flags in (("no disk", ()), ("disk", disk_flags(place))):
            gaps, written = measure(flags, options.rounds, options.tokens)
            print(f"{name}: {len(gaps)} gaps: median {statistics.median(gaps):.1f} / 99% {gaps[len(gaps) * 99 // 100]:.1f} / "
                  f"max {gaps[-1]:.1f} ms; {written / 1e6:.0f} MB written")


if __name__ == "__main__":
    main()
