"""What a request pays for the guard, and answers for adapters that nobody uses.

Three servers run beside each other and take turns: one as it is, one that asks for keys (with address lists and
limits), one with adapters loaded. A request is GET /v1/models on an open connection: little more than the way in.
"""

import asyncio
import contextlib
import os
import socket
import statistics
import sys
import tempfile
import time

from figures import Report
from processes import ROOT, Serving, allow_files, cpu_seconds, describe, run as inhouse
from stream_client import request_bytes, stream
from words import Words

sys.path.insert(0, os.path.join(ROOT, "tests/conformance"))
from lora_adapter import write_adapter  # noqa: E402

EXAMPLES = """examples:
  bench/serving/load.py costs                               5 rounds
  bench/serving/load.py costs --rounds 1 --requests 200 --tokens 8
"""


def add_arguments(parser):
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--requests", type=int, default=4000, help="of each round and server")
    parser.add_argument("--keys", type=int, default=100, help="in the keys file")
    parser.add_argument("--adapters", type=int, default=4, help="loaded, rank 8")
    parser.add_argument("--streams", type=int, default=8)
    parser.add_argument("--tokens", type=int, default=96, help="of each answer")
    parser.add_argument("--guard-us", type=float, default=100, help="bound of the guard's processor time for a request")
    parser.add_argument("--adapter-loss", type=float, default=0.05, help="bound of the speed that unused adapters cost, as a share")


def requests(server, count, key):
    """(median microseconds of an answer, microseconds of the server's processor time for each)."""
    field = f"Authorization: Bearer {key}\r\n" if key else ""
    request = f"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n{field}\r\n".encode()
    times, cpu = [], cpu_seconds(server.process.pid)
    with socket.create_connection(("127.0.0.1", server.port), 20) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(count):
            start = time.perf_counter()
            connection.sendall(request)
            answer = connection.recv(65536)
            times.append(time.perf_counter() - start)
            if not answer.startswith(b"HTTP/1.1 200"):
                raise SystemExit(f"unexpected answer: {answer[:200]!r}")
    return 1e6 * statistics.median(times), 1e6 * (cpu_seconds(server.process.pid) - cpu) / count


async def answers(server, args):
    """Tokens per second of all streams together."""
    started = time.monotonic()
    found = await asyncio.gather(*(stream(server.port, request_bytes("/v1/completions", {
        "model": Serving.NAME, "prompt": Words(i).text(12), "max_tokens": args.tokens, "ignore_eos": True, "temperature": 0,
        "stream": True, "stream_options": {"include_usage": True}})) for i in range(args.streams)))
    if not all(answer.whole for answer in found):
        raise SystemExit(f"an answer failed: {[a.failure() for a in found if not a.whole]}")
    return sum(a.usage["completion_tokens"] for a in found) / (time.monotonic() - started)


def guarded(folder, args):
    """Flags of a server that asks for keys, and one of them."""
    path = os.path.join(folder, "keys.toml")
    for i in range(args.keys):
        done = inhouse("keys", "create", "--keys", path, "--name", f"user-{i}", "--allow", "127.0.0.0/8", "--requests-per-minute",
                       "1000000", "--tokens-per-day", "1000000000")
        if done.returncode != 0:
            raise SystemExit(done.stderr)
    return ["--keys", path, "--allow", "127.0.0.0/8", "--deny", "192.0.2.0/24"], done.stdout.strip()


def measure(args, report, servers, key):
    latency = {name: [] for name in ("plain", "keys")}
    work = {name: [] for name in ("plain", "keys")}
    speed = {name: [] for name in ("plain", "adapters")}
    for number in range(args.rounds + 1):  # the first warms up
        turn = -1 if number % 2 else 1
        for name in list(latency)[::turn]:
            found = requests(servers[name], args.requests, key if name == "keys" else "")
            if number > 0:
                latency[name].append(found[0])
                work[name].append(found[1])
        for name in list(speed)[::turn]:
            rate = asyncio.run(answers(servers[name], args))
            if number > 0:
                speed[name].append(rate)
    for name in latency:
        report.add(f"a request, {name}", f"request_{name}", {"latency_us": latency[name], "cpu_us": work[name]},
                   f"{statistics.median(latency[name]):.1f} us until the answer, {statistics.median(work[name]):.1f} us of processor time (medians)")
    for name, rates in speed.items():
        report.add(f"{args.streams} answers, {name}", f"speed_{name}", rates,
                   f"{min(rates):.1f} / {statistics.median(rates):.1f} / {max(rates):.1f} tokens per second")
    report.bound("the guard's processor time", statistics.median(b - a for a, b in zip(work["plain"], work["keys"])), args.guard_us,
                 unit="us for a request")
    report.bound("cost of unused adapters", 1 - statistics.median(b / a for a, b in zip(speed["plain"], speed["adapters"])),
                 args.adapter_loss, unit="of the speed")


def run(args):
    allow_files(256)
    report = Report("costs", {k: getattr(args, k) for k in ("rounds", "requests", "keys", "adapters", "streams", "tokens")})
    report.add("server", "server", describe())
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory())
        flags, key = guarded(folder, args)
        adapters = [f"--adapter=a{i}=" + write_adapter(os.path.join(folder, f"a{i}"), i) for i in range(args.adapters)]
        servers = {name: stack.enter_context(Serving(*more, *args.server_flags))
                   for name, more in (("plain", []), ("keys", flags), ("adapters", adapters))}
        measure(args, report, servers, key)
    return report
