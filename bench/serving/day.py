"""A day of an organisation, compressed: calls arrive as a Poisson process whose rate follows the hours.

The clock runs faster, the calls do not come faster: at each moment the rate is that of the hour, as it is with
so many calls a day, so 10 minutes have 144 times fewer calls than the day and every hour is there. Clients are
not a fixed number that wait for each other; whoever comes, comes.
"""

import asyncio
import collections
import random
import time

from figures import Report, percentile, spread, spread_text
from processes import Prober, Sampler, Serving, allow_files, cpu_seconds, describe
from stream_client import request_bytes, stream
from words import SYSTEM, Words

EXAMPLES = """examples:
  bench/serving/load.py day                                 100,000 calls a day, in 10 minutes
  bench/serving/load.py day --seconds 30                    a look
  bench/serving/load.py day --calls 250000                  what would more be like?
"""

# Share of the day's calls by hour: two office humps, a lunch between them, batch jobs and early shifts at night.
HOURS = (0.8, 0.6, 0.5, 0.5, 0.6, 1.0, 2.0, 4.0, 7.0, 9.0, 9.5, 8.5, 5.5, 7.0, 9.0, 9.0, 8.0, 6.0, 3.5, 2.2, 1.8, 1.6, 1.4, 1.0)
PART = 3  # hours of a row of the table
COUNTED = 10  # a percentile of fewer says nothing


def add_arguments(parser):
    parser.add_argument("--calls", type=float, default=100_000, help="of the whole day, were it not compressed")
    parser.add_argument("--seconds", type=float, default=600, help="that the day takes")
    parser.add_argument("--words", type=int, default=40, help="median of a question's")
    parser.add_argument("--tokens", type=int, default=48, help="median of an answer's")
    parser.add_argument("--max-sequences", type=int, default=32, help="answers that the server makes at the same time")


def arrivals(args):
    """Seconds from the start, by thinning a process of the highest rate."""
    rng = random.Random(1)
    mean = args.calls / 86400
    highest = mean * max(HOURS) * 24 / sum(HOURS)
    now, found = 0.0, []
    while True:
        now += rng.expovariate(highest)
        if now >= args.seconds:
            return found
        if rng.random() * max(HOURS) < HOURS[int(now / args.seconds * 24)]:
            found.append(now)


def call(number, args):
    """A question behind the organisation's system prompt; a third of them are the second turn of a chat."""
    words = Words(number)
    messages = [{"role": "system", "content": SYSTEM}, {"role": "user", "content": words.text(words.length(args.words, 400))}]
    if words.rng.random() < 1 / 3:
        messages += [{"role": "assistant", "content": words.text(40)}, {"role": "user", "content": words.text(12)}]
    return request_bytes("/v1/chat/completions", {
        "model": Serving.NAME, "messages": messages, "max_tokens": words.length(args.tokens, 512), "ignore_eos": True,
        "temperature": 0.7, "seed": number, "stream": True, "stream_options": {"include_usage": True}})


async def play(server, args, times):
    """The answers, in order of arrival, and how many were open at each arrival."""
    started, tasks, open_now, opens = time.monotonic(), [], 0, []

    async def one(number):
        nonlocal open_now
        open_now += 1
        opens.append(open_now)
        answer = await stream(server.port, call(number, args), timeout=120)
        open_now -= 1
        return answer

    for number, at in enumerate(times):
        await asyncio.sleep(max(0.0, started + at - time.monotonic()))
        tasks.append(asyncio.create_task(one(number)))
    return await asyncio.gather(*tasks), opens


def hours_table(args, times, answers, opens):
    rows = [["hours", "calls", "per second", "open, most", "first token p50", "p95", "between tokens p50", "p95 ms"]]
    for first in range(0, 24, PART):
        found = [i for i, at in enumerate(times) if first <= at / args.seconds * 24 < first + PART]
        starts = [answers[i].first - answers[i].sent for i in found if answers[i].first]
        gaps = [gap for i in found for gap in answers[i].gaps]
        ms = [f"{1000 * percentile(v, p):.0f}" if len(v) >= COUNTED else "-" for v in (starts, gaps) for p in (0.5, 0.95)]
        rows.append([f"{first:02d}-{first + PART:02d}", len(found), f"{len(found) / args.seconds * 24 / PART:.2f}",
                     max((opens[i] for i in found), default=0), *ms])
    return rows


async def measure(server, args, report):
    times = arrivals(args)
    sampler = Sampler(server.process.pid)
    watch, prober = asyncio.create_task(sampler.run()), Prober(server.port)
    cpu, started = cpu_seconds(server.process.pid), time.monotonic()
    answers, opens = await play(server, args, times)
    seconds, cpu = time.monotonic() - started, cpu_seconds(server.process.pid) - cpu
    watch.cancel()
    health, errors = prober.result()
    wrong = collections.Counter(a.failure() or f"turned away: {a.status}" for a in answers if not a.whole)
    whole = [a for a in answers if a.whole]
    first = spread([a.first - a.sent for a in whole if a.first])
    gaps = spread([gap for a in whole for gap in a.gaps])
    prompt = sum(a.usage["prompt_tokens"] for a in whole)
    cached = sum(a.usage["prompt_tokens_details"]["cached_tokens"] for a in whole)
    made = sum(a.usage["completion_tokens"] for a in whole)
    report.add("calls", "calls", len(answers))
    report.add("errors", "errors", dict(wrong), "; ".join(f"{n} x {w}" for w, n in wrong.items()) or "none")
    report.add("tokens", "tokens", {"prompt": prompt, "cached": cached, "made": made},
               f"{prompt} of prompts ({100 * cached / max(prompt, 1):.0f} % cached), {made} made")
    report.add("first token", "first_token_ms", first, spread_text(first))
    report.add("between tokens", "inter_token_ms", gaps, spread_text(gaps))
    report.add("GET /health", "health_ms", spread(health), spread_text(spread(health)))
    report.add("server's processor time", "cores", round(cpu / seconds, 2), f"{cpu / seconds:.2f} cores of the machine's two or more")
    report.add("server's memory", "rss_mib", [round(sampler.samples[0][1]), round(sampler.samples[-1][1])],
               f"{sampler.samples[0][1]:.0f} MiB at the start, {sampler.samples[-1][1]:.0f} at the end")
    report.table("by the hour", hours_table(args, times, answers, opens))
    report.bound("calls without a whole answer", len(answers) - len(whole) + len(errors), 1)


def run(args):
    allow_files(4096)
    report = Report("day", {"calls": args.calls, "seconds": args.seconds, "words": args.words, "tokens": args.tokens,
                            "max_sequences": args.max_sequences})
    with Serving("--max-sequences", str(args.max_sequences), *args.server_flags) as server:
        report.add("server", "server", describe())
        asyncio.run(measure(server, args, report))
    return report
