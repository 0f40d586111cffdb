#!/usr/bin/env python3
"""inhouse beside llama.cpp on the same GGUF files, in turns: scripts/bench starts it.

Each round runs one process of either engine per model, in alternating order, because the memory speed
of shared machines drifts within minutes; figures are min, median and max over the rounds, the ratio is
the median of the rounds' ratios.
"""

import argparse
import datetime
import json
import os
import re
import statistics
import subprocess
import sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
PHASES = ("prefill", "decode")


def run_json(command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\nexit {done.returncode}: {done.stderr.strip()[-800:]}")
    return json.loads(done.stdout)


def measure_inhouse(args, model):
    out = run_json([*args.prefix, args.inhouse, "bench", "--model", model, "--threads", str(args.threads),
                    "--prompt-tokens", str(args.prompt_tokens), "--generate-tokens", str(args.generate_tokens),
                    "--repeat", "1", "--json"])
    rates = {row["phase"]: row["tokens_per_second"]["median"] for row in out["results"]}
    limits = {row["phase"]: row["of_limit"] for row in out["results"]}
    return {**rates, "of_limit": limits, "isa": out["machine"].get("isa"), "peak_rss_bytes": out["peak_rss_bytes"],
            "limits": out["limits"]}


def measure_llama_cpp(args, model):
    return run_json([*args.prefix, sys.executable, os.path.join(HERE, "llama_cpp.py"), "--libs", args.libs, "--model",
                     model, "--threads", str(args.threads), "--prompt-tokens", str(args.prompt_tokens),
                     "--generate-tokens", str(args.generate_tokens)])


def compare(args, name, path):
    ours, theirs = [], []
    for number in range(args.rounds):
        turns = [(ours, measure_inhouse), (theirs, measure_llama_cpp)]
        for results, measure in turns if number % 2 == 0 else turns[::-1]:
            results.append(measure(args, path))
        print(f"  {name} round {number + 1} of {args.rounds}: " + ", ".join(
            f"{phase} {ours[-1][phase]:.1f} beside {theirs[-1][phase]:.1f}" for phase in PHASES), file=sys.stderr)
    return {"model": name, "file_bytes": os.path.getsize(path), "inhouse": ours, "llama_cpp": theirs}


def spread(values):
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def table(results):
    lines = ["| model | phase | inhouse tok/s (min / median / max) | llama.cpp tok/s | ratio | of our limit |",
             "|---|---|---|---|---|---|"]
    for row in results:
        for phase in PHASES:
            ours = [r[phase] for r in row["inhouse"]]
            theirs = [r[phase] for r in row["llama_cpp"]]
            ratio = statistics.median(a / b for a, b in zip(ours, theirs))
            limit = statistics.median(r["of_limit"][phase] for r in row["inhouse"])
            lines.append(f"| {row['model']} | {phase} | {spread(ours)} | {spread(theirs)} | {ratio:.2f} | {limit:.0%} |")
    return "\n".join(lines)


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    return f"{fields.get('model name', 'CPU')} family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"


def prepare(args):
    """(name, path) of every model; the random ones are made once and kept."""
    models = []
    if "smollm2" in args.models:
        path = os.path.join(ROOT, "build/bench/smollm2-135m-instruct.gguf")
        if not os.path.exists(path):
            sys.exit(f"{path} is missing: scripts/bench makes it")
        models.append(("SmolLM2-135M Q4_1", path))
    for name in args.models:
        if name == "smollm2":
            continue
        path = os.path.join(ROOT, f"build/bench/random-1.5b-{name.lower()}.gguf")
        if not os.path.exists(path):
            print(f"making {os.path.relpath(path, ROOT)}", file=sys.stderr)
            subprocess.run([sys.executable, os.path.join(HERE, "make_gguf.py"), "--type", name, "--out", path], check=True)
        models.append((f"random 1.5B {name}", path))
    return models


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--inhouse", default=os.path.join(ROOT, "build/release/inhouse"))
    parser.add_argument("--libs", default=os.path.join(
        ROOT, "build/peers/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"))
    parser.add_argument("--models", nargs="+", default=["smollm2", "Q4_0", "Q4_K", "Q8_0", "BF16"],
                        help="smollm2, or a type for the random 1.5B model: Q4_0 Q4_1 Q4_K Q6_K Q8_0 BF16")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=128)
    parser.add_argument("--prefix", type=lambda text: text.split(), default=[],
                        help="put before each measured command, for example 'numactl -N 0 -m 0'")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench/results"), help="folder for the result files")
    args = parser.parse_args()

    version = run_json([args.inhouse, "version", "--json"])
    results = [compare(args, name, path) for name, path in prepare(args)]
    date = datetime.date.today().isoformat()
    record = {"date": date, "cpu": cpu_name(), "threads": args.threads, "rounds": args.rounds,
              "prompt_tokens": args.prompt_tokens, "generate_tokens": args.generate_tokens,
              "inhouse": version, "isa": results[0]["inhouse"][0]["isa"],
              "llama_cpp": {key: results[0]["llama_cpp"][0][key] for key in ("version", "backend")},
              "command": "scripts/bench " + " ".join(sys.argv[1:]), "results": results}
    text = (f"# {date}, {record['cpu']}, {args.threads} threads\n\n"
            f"`{record['command'].strip()}`: prompt of {args.prompt_tokens} tokens, {args.generate_tokens} generated, "
            f"{args.rounds} rounds in alternating order.\n"
            f"inhouse {version['version']} ({version['commit']}), {record['isa']}; llama.cpp "
            f"{record['llama_cpp']['version']} (npm @node-llama-cpp/linux-x64), {record['llama_cpp']['backend']}.\n\n"
            f"{table(results)}\n")
    os.makedirs(args.out, exist_ok=True)
    base = os.path.join(args.out, date + "-" + re.sub(r"[^a-z0-9]+", "-", record["cpu"].lower()).strip("-"))
    for ending, content in ((".json", json.dumps(record, indent=1) + "\n"), (".md", text)):
        with open(base + ending, "w", encoding="utf-8") as f:
            f.write(content)
    print(text)
    print(f"written: {os.path.relpath(base, os.getcwd())}.json and .md", file=sys.stderr)


if __name__ == "__main__":
    main()
