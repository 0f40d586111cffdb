#!/usr/bin/env python3
"""First token of a prompt whose beginning is known, beside one whose is not, through the real server.

Each round takes a prompt that nobody has sent, of about 1,000 tokens, and sends it twice with different endings. With
--restart it is sent a third time, to a server that was started meanwhile and has nothing but the disk tier.
"""

import argparse
import http.client
import json
import os
import random
import statistics
import sys
import tempfile
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../../tests/conformance"))
from serving import BINARY, Serving  # noqa: E402


def first_token(server, ids):
    """(milliseconds to the first event with text, cached tokens) of one streamed completion."""
    body = json.dumps({"model": Serving.NAME, "prompt": ids, "max_tokens": 2, "ignore_eos": True, "temperature": 0,
                       "stream": True, "stream_options": {"include_usage": True}})
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=120)
    start = time.perf_counter()
    connection.request("POST", "/v1/completions", body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    first, cached = None, 0
    for line in response:
        if not line.startswith(b"data: {"):
            continue
        first = first or time.perf_counter() - start
        usage = json.loads(line[6:]).get("usage")
        if usage:
            cached = usage["prompt_tokens_details"]["cached_tokens"]
    connection.close()
    return first * 1000, cached


def show(name, rows, base=None):
    times = [ms for ms, _ in rows]
    ratio = f", {base / statistics.median(times):.1f}x faster" if base else ""
    print(f"{name}: min {min(times):.1f} / median {statistics.median(times):.1f} / max {max(times):.1f} ms, "
          f"{rows[-1][1]} tokens cached{ratio}")
    return statistics.median(times)


def disk_flags(place):
    key = os.path.join(place, "key")
    with open(key, "w", encoding="ascii", opener=lambda path, flags: os.open(path, flags, 0o600)) as file:
        file.write(os.urandom(32).hex())
    return ("--kv-disk", os.path.join(place, "kv"), "--kv-disk-key", key)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--tokens", type=int, default=1024, help="of the shared beginning")
    parser.add_argument("--restart", action="store_true", help="also from disk, after a restart")
    options = parser.parse_args()
    rng = random.Random(1)
    prefixes = [[rng.randrange(1000, 40000) for _ in range(options.tokens)] for _ in range(options.rounds + 1)]
    ending = lambda: [rng.randrange(1000, 40000) for _ in range(16)]  # noqa: E731
    with tempfile.TemporaryDirectory() as place:
        flags = disk_flags(place) if options.restart else ()
        with Serving(*flags) as server:
            first_token(server, prefixes[0])  # warms up
            cold, warm = [], []
            for prefix in prefixes[1:]:
                cold.append(first_token(server, prefix + ending()))
                warm.append(first_token(server, prefix + ending()))
        disk = []
        if options.restart:
            with Serving(*flags) as server:
                first_token(server, prefixes[0])
                disk = [first_token(server, prefix + ending()) for prefix in prefixes[1:]]
    print(f"{os.path.relpath(BINARY)}, {options.tokens} shared tokens + 16, {options.rounds} rounds")
    base = show("computed", cold)
    show("in memory", warm, base)
    if disk:
        show("from disk, after a restart", disk, base)


if __name__ == "__main__":
    main()
