"""Thousands of streams that are open and silent: what does each cost?

One answer runs, all other clients wait in the server's queue for their turn; their streams are open and get a
comment now and then. At the end all of them leave at once.
"""

import asyncio
import time

from figures import Report, percentile, spread, spread_text
from processes import Prober, Serving, allow_files, cpu_seconds, describe, rss_mib
from stream_client import Answer, request_bytes, stream
from words import Words

EXAMPLES = """examples:
  bench/serving/load.py idle                              4,000 streams, half a minute
  bench/serving/load.py idle --streams 200 --seconds 3 --keep-alive-seconds 1
"""


def add_arguments(parser):
    parser.add_argument("--streams", type=int, default=4000)
    parser.add_argument("--seconds", type=float, default=30, help="for which all are open and silent")
    parser.add_argument("--keep-alive-seconds", type=float, default=10, help="the server's, between two comments")
    parser.add_argument("--words", type=int, default=24, help="of each prompt")
    parser.add_argument("--at-once", type=int, default=100, help="clients that connect at the same time")
    parser.add_argument("--mib", type=float, default=200, help="bound of the memory that they take together")
    parser.add_argument("--health-ms", type=float, default=50, help="bound of the 99th percentile of /health")


def endless(number, words):
    return request_bytes("/v1/chat/completions", {
        "model": Serving.NAME, "messages": [{"role": "user", "content": Words(number).text(words)}], "max_tokens": 100_000,
        "ignore_eos": True, "stream": True})


async def opened(server, args, number, answers, tasks):
    """Opens one stream, again where it is told to come later; returns when its header has arrived."""
    while True:
        answer = Answer()
        task = asyncio.create_task(stream(server.port, endless(number, args.words), timeout=3600, answer=answer))
        while answer.head is None and not task.done():
            await asyncio.sleep(0.01)
        if not answer.turned_away:
            answers.append(answer)
            tasks.append(task)
            return
        await task
        await asyncio.sleep(min(answer.retry_after, 1))


async def await_gauge(server, name, count, seconds=60):
    end = time.monotonic() + seconds
    while server.metric(name) != count and time.monotonic() < end:
        await asyncio.sleep(0.1)
    return server.metric(name)


async def measure(server, args, report):
    answers, tasks, gate = [], [], asyncio.Semaphore(args.at_once)
    await opened(server, args, 0, answers, tasks)  # the one that runs
    await asyncio.sleep(1)
    before = rss_mib(server.process.pid)[0]

    async def wait_for_one(number):
        async with gate:
            await opened(server, args, number, answers, tasks)

    started = time.monotonic()
    await asyncio.gather(*(wait_for_one(number) for number in range(1, args.streams + 1)))
    opening = time.monotonic() - started
    prober, cpu = Prober(server.port), cpu_seconds(server.process.pid)
    await asyncio.sleep(args.seconds)
    times, errors = prober.result()
    cpu = cpu_seconds(server.process.pid) - cpu
    after, waiting = rss_mib(server.process.pid)[0], server.metric("vllm:num_requests_waiting")
    ended = sum(task.done() for task in tasks)
    comments = [answer.comments for answer in answers[1:]]
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    left = time.monotonic()
    still = await await_gauge(server, "vllm:num_requests_waiting", 0)
    leaving = time.monotonic() - left
    report.add("streams that wait", "waiting", int(waiting))
    report.add("seconds to open all", "opening_s", round(opening, 1))
    report.add("server's memory", "rss_mib", [round(before, 1), round(after, 1)], f"{before:.1f} MiB before, {after:.1f} with them")
    report.add("for each stream", "kib_each", round(1024 * (after - before) / args.streams, 1), f"{1024 * (after - before) / args.streams:.1f} KiB")
    report.add("comments on each", "comments", [min(comments), max(comments)], f"{min(comments)} to {max(comments)}")
    report.add("server's processor time meanwhile", "cores", round(cpu / args.seconds, 2), f"{cpu / args.seconds:.2f} cores (one answer runs)")
    report.add("GET /health", "health_ms", spread(times), spread_text(spread(times)))
    report.add("seconds until all have left", "leaving_s", round(leaving, 2))
    report.bound("memory of all of them", after - before, args.mib, unit="MiB")
    report.bound("streams that failed", ended + len(errors) + abs(int(waiting) - args.streams) + int(still), 1)
    report.bound("comments on the most silent", min(comments), int(args.seconds / args.keep_alive_seconds / 1.25), below=False)
    report.bound("99th percentile of /health", 1000 * percentile(times, 0.99), args.health_ms, unit="ms")


def run(args):
    allow_files(args.streams + 200)
    report = Report("idle", {"streams": args.streams, "seconds": args.seconds, "words": args.words,
                             "keep_alive_seconds": args.keep_alive_seconds})
    with Serving("--max-sequences", "1", "--queue", str(args.streams + 10), "--connections", str(args.streams + 100),
                 "--keep-alive-seconds", str(args.keep_alive_seconds), *args.server_flags) as server:
        report.add("server", "server", describe())
        asyncio.run(measure(server, args, report))
    return report
