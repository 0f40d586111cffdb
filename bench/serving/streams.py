"""Many clients that stream at the same time, for minutes: does anything fail, grow, or stall?

Each client asks, reads its answer to the end and asks again. An answer must be whole (as many tokens as were
asked for, [DONE] at the end), or a 429 or 503 that says when to come again, which the client obeys.
"""

import asyncio
import collections
import random
import time

from figures import Report, percentile, slope, spread, spread_text
from processes import Prober, Sampler, Serving, allow_files, cpu_seconds, describe as describe_server
from stream_client import Answer, request_bytes, stream
from words import Words

EXAMPLES = """examples:
  bench/serving/load.py streams                              1,000 clients for 5 minutes
  bench/serving/load.py streams --clients 100 --seconds 20   a look
  bench/serving/load.py streams --queue 256                  most clients are turned away and come again
"""
GIVE_UP = 120  # seconds without a byte at the end of the run


def add_arguments(parser):
    parser.add_argument("--clients", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=300)
    parser.add_argument("--tokens", type=int, default=64, help="of each answer")
    parser.add_argument("--words", type=int, default=24, help="of each prompt")
    parser.add_argument("--max-sequences", type=int, default=128, help="answers that the server makes at the same time")
    parser.add_argument("--queue", type=int, default=1000, help="answers that may wait in the server")
    parser.add_argument("--health-ms", type=float, default=50, help="bound of the 99th percentile of /health")
    parser.add_argument("--growth", type=float, default=0.02,
                        help="bound of the growth of memory from the first fifth of the time to its end, as a share")


class Clients:
    def __init__(self, server, args):
        self.server, self.args = server, args
        self.answers, self.failures = [], collections.Counter()
        self.turned_away, self.waits, self.open, self.open_max, self.cut = collections.Counter(), [], 0, 0, 0
        self.end = time.monotonic() + args.seconds

    async def one(self, number):
        words, rng = Words(number), random.Random(number)
        await asyncio.sleep(rng.random())  # a thousand connections within a second, not within one instant
        while time.monotonic() < self.end:
            request = request_bytes("/v1/chat/completions", {
                "model": Serving.NAME, "messages": [{"role": "user", "content": words.text(self.args.words)}],
                "max_tokens": self.args.tokens, "ignore_eos": True, "temperature": 0.7, "seed": number, "stream": True,
                "stream_options": {"include_usage": True}})
            answer = Answer()
            self.open += 1
            self.open_max = max(self.open_max, self.open)
            try:
                await stream(self.server.port, request, answer=answer)
            finally:
                self.open -= 1
            self.count(answer)
            if answer.turned_away:
                left = self.end - time.monotonic()
                await asyncio.sleep(min(answer.retry_after + rng.random(), max(left, 0)))

    def count(self, answer):
        why = answer.failure()
        if answer.whole and answer.usage.get("completion_tokens") != self.args.tokens:
            why = f"{answer.usage.get('completion_tokens')} tokens instead of {self.args.tokens}"
        if why:
            self.failures[why] += 1
        elif answer.turned_away:
            self.turned_away[answer.status] += 1
            self.waits.append(answer.retry_after)
        else:
            self.answers.append(answer)

    async def run(self):
        """All of them until the time is over; what is in flight then may end."""
        tasks = [asyncio.create_task(self.one(number)) for number in range(self.args.clients)]
        done, pending = await asyncio.wait(tasks, timeout=self.args.seconds + GIVE_UP)
        for task in pending:
            task.cancel()
        self.cut = len(pending)
        await asyncio.gather(*pending, return_exceptions=True)
        for task in done:
            task.result()


async def measure(server, args, report):
    clients, sampler = Clients(server, args), Sampler(server.process.pid)
    watch = asyncio.create_task(sampler.run())
    prober = Prober(server.port)
    cpu, started = cpu_seconds(server.process.pid), time.monotonic()
    await clients.run()
    seconds = time.monotonic() - started
    cpu = cpu_seconds(server.process.pid) - cpu
    watch.cancel()
    times, errors = prober.result()
    describe(report, clients, seconds, cpu)
    memory(report, sampler, args)
    report.add("GET /health", "health_ms", spread(times), spread_text(spread(times)))
    report.add("most late this client was", "client_lag_ms", round(1000 * sampler.lag, 1))
    report.bound("failures", sum(clients.failures.values()) + clients.cut + len(errors), 1)
    report.bound("99th percentile of /health", 1000 * percentile(times, 0.99), args.health_ms, unit="ms")


def describe(report, clients, seconds, cpu):
    answers = clients.answers
    tokens = sum(a.usage["completion_tokens"] for a in answers)
    report.add("seconds", "seconds", round(seconds, 1))
    report.add("streams open at once, most", "open_max", clients.open_max)
    report.add("whole answers", "answers", len(answers))
    report.add("tokens per second", "tokens_per_second", round(tokens / seconds, 1))
    report.add("turned away, with Retry-After", "turned_away", {str(k): v for k, v in clients.turned_away.items()},
               ", ".join(f"{n} x {status}" for status, n in clients.turned_away.items()) or "none")
    if clients.waits:
        report.add("Retry-After", "retry_after_s", spread(clients.waits, 1), spread_text(spread(clients.waits, 1), "s"))
    report.add("failures", "failures", dict(clients.failures), "; ".join(f"{n} x {w}" for w, n in clients.failures.items()) or "none")
    report.add("without an end when time was over", "cut", clients.cut)
    first = spread([a.first - a.sent for a in answers if a.first])
    gaps = spread([gap for a in answers for gap in a.gaps])
    head = spread([a.head - a.sent for a in answers])
    report.add("header of the stream", "head_ms", head, spread_text(head))
    report.add("first token, with the queue", "first_token_ms", first, spread_text(first))
    report.add("between tokens", "inter_token_ms", gaps, spread_text(gaps))
    report.add("server's processor time", "cpu_seconds", round(cpu, 1), f"{cpu:.1f} s, {cpu / seconds:.2f} cores")


def memory(report, sampler, args):
    samples = sampler.after(0.2)
    per_minute = 60 * slope(samples)
    minutes = (samples[-1][0] - samples[0][0]) / 60
    level = sum(value for _, value in samples) / len(samples)
    report.add("server's memory", "rss_mib", [round(s[1], 1) for s in sampler.samples[:: max(1, len(sampler.samples) // 10)]],
               f"{sampler.samples[0][1]:.0f} MiB at the start, {max(s[1] for s in sampler.samples):.0f} at most, "
               f"{sampler.samples[-1][1]:.0f} at the end")
    report.add("its slope after the first fifth", "slope_mib_per_minute", round(per_minute, 3), f"{per_minute:+.2f} MiB per minute")
    report.add("open files, most", "files_max", sampler.files)
    report.bound("growth of memory", per_minute * minutes / level, args.growth, unit="of its level")


def run(args):
    allow_files(args.clients + 200)
    report = Report("streams", {"clients": args.clients, "seconds": args.seconds, "tokens": args.tokens, "words": args.words,
                                "max_sequences": args.max_sequences, "queue": args.queue})
    with Serving("--max-sequences", str(args.max_sequences), "--queue", str(args.queue), "--connections",
                 str(args.clients + 100), *args.server_flags) as server:
        report.add("server", "server", describe_server())
        asyncio.run(measure(server, args, report))
    return report
