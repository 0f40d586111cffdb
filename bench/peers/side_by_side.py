#!/usr/bin/env python3
"""inhouse beside other engines on the same weights, in turns: scripts/bench starts it.

Each round runs one process of each engine for each model, in alternating order, because the memory speed
of shared machines drifts within minutes; figures are min, median and max over the rounds, a ratio is the
median of the rounds' ratios. What the memory reads is measured beside each phase of both, and where that bounds
a phase its ratio takes the rounds in which it was the same all the time, if there are any. Models of a shape are made with fixed seeds when they are needed.
"""

import argparse
import datetime
import json
import os
import re
import shutil
import statistics
import subprocess
import sys

import others
import picture
import targets

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
# What is measured close together: llama.cpp's type and ours.
FAMILIES = [("bf16", ["bf16"]), ("q8_0", ["q8_0", "int8", "fp8"]), ("q4_0", ["q4_0", "int4"]), ("q4_k", ["q4_k"])]
GGUF = ("bf16", "q8_0", "q4_0", "q4_k")
# What --isa holds back to: our level and llama.cpp's library with the same instructions.
BACKENDS = {"avx2": "haswell", "avx512vnni": "cascadelake", "avx512bf16": "zen4"}


def say(text):
    print(text, file=sys.stderr, flush=True)


def run_json(command, timeout=1800):
    """The JSON object that a command prints, or {"error"}."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=timeout)
    except subprocess.TimeoutExpired:
        return {"error": f"no result within {timeout} s"}
    try:
        return json.loads(done.stdout.strip().split("\n")[-1])
    except ValueError:
        return {"error": (done.stderr.strip() or f"exit {done.returncode}").split("\n")[-1][-300:]}


class Models:
    """Files of one shape under build/bench, made when asked for."""

    def __init__(self, shape, keep):
        self.shape, self.keep = shape, keep

    def path(self, kind):
        if self.shape == "smollm2":
            return os.path.join(ROOT, "build/bench/smollm2-135m-instruct.gguf")
        path = os.path.join(ROOT, f"build/bench/{self.shape}-{kind}{'.gguf' if kind in GGUF else ''}")
        if not os.path.exists(path):
            say(f"making {os.path.relpath(path, ROOT)}")
            script = "make_gguf.py" if kind in GGUF else "make_hf.py"
            name = kind.upper() if kind in GGUF else kind.removeprefix("hf-")
            subprocess.run([sys.executable, os.path.join(HERE, script), "--shape", self.shape, "--type", name, "--out", path],
                           check=True)
        return path

    def drop(self, kinds):
        if self.keep:
            return
        for kind in kinds:
            path = self.path(kind)
            shutil.rmtree(path) if os.path.isdir(path) else os.remove(path)


def phase_of(row):
    return "prefill" if row["phase"] == "prefill" else "decode" if row["batch"] == 1 else "decode_batch"


def failed(out):
    return {"error": out["error"]["message"] if isinstance(out["error"], dict) else out["error"]}


def measure_inhouse(args, kind, path, depth):
    command = [*args.prefix, args.inhouse, "bench", "--model", path, "--threads", str(args.threads), "--repeat", "1",
               "--json", *(["--isa", args.isa] if args.isa else []), *args.inhouse_flags]
    out = run_json([*command, "--prompt-tokens", str(args.prompt_tokens), "--generate-tokens",
                    str(args.generate_tokens), "--batch", f"1,{args.batch}"])
    if "error" in out:
        return failed(out)
    rows = {phase_of(row): row for row in out["results"]}
    if kind in targets.INTEGER:
        narrow = run_json([*command, "--activation-bits", "8", "--prompt-tokens", str(args.prompt_tokens), "--generate-tokens",
                           str(args.generate_tokens), "--batch", str(args.batch)])
        rows |= {phase_of(row) + "_8bit": row for row in narrow.get("results", [])}
    if depth:
        deep = run_json([*command, "--prompt-tokens", "0", "--generate-tokens", str(args.depth_tokens), "--depth", str(depth)])
        if deep.get("results"):
            rows["decode_depth"] = deep["results"][0]
    # The host of a virtual machine takes free memory back, and the first process that wants it again waits. So the load is
    # that of a process that follows one of its own size. It reserves no more KV than it fills: the peak hides nothing.
    follower = [run_json([*command, "--prompt-tokens", str(tokens), "--generate-tokens", "0"])
                for tokens in (1, args.prompt_tokens)][-1]
    if "error" in follower:
        return failed(follower)
    beside = follower["model"]["weight_bytes"] + follower["model"]["kv_bytes"]
    model = out["model"]
    return {**{phase: row["tokens_per_second"]["median"] for phase, row in rows.items()},
            "of_limit": {phase: row["of_limit"] for phase, row in rows.items()},
            "limit": {phase: row["limit_tokens_per_second"] for phase, row in rows.items()},
            "memory_read_gb_s": {phase: row["limits"]["memory_read_gb_s"] for phase, row in rows.items()},
            "bound": {phase: row["bound"] for phase, row in rows.items()},
            "isa": out["machine"]["isa"], "limits": out["limits"], "weight_bytes": model["weight_bytes"],
            "arithmetic": model["arithmetic"], "load_gb_s": follower["load"]["gb_s"], "peak_rss_bytes": out["peak_rss_bytes"],
            "peak_over_bytes": follower["peak_rss_bytes"] - beside}


def measure_llama_cpp(args, _kind, path, depth):
    if not os.path.isdir(args.libs):
        return {"error": f"no llama.cpp at {os.path.relpath(args.libs, ROOT)}"}
    return run_json([*args.prefix, sys.executable, os.path.join(HERE, "llama_cpp.py"), "--libs", args.libs, "--model", path,
                     "--threads", str(args.threads), "--prompt-tokens", str(args.prompt_tokens), "--generate-tokens",
                     str(args.generate_tokens), "--batch", str(args.batch), "--depth", str(depth), "--depth-tokens",
                     str(args.depth_tokens), "--doctor", args.inhouse, *(["--backend", BACKENDS[args.isa]] if args.isa else [])])


def add(results, engine, kind, number, figures):
    entry = results[engine].setdefault(kind, {"rounds": []})
    if "error" in figures:
        entry["error"] = figures["error"]
        say(f"  {engine} {kind}: {figures['error']}")
        return
    entry["rounds"].append({"round": number, **figures})
    say(f"  {engine} {kind} round {number + 1}: " + ", ".join(
        f"{phase} {figures[phase]:.1f}" for phase in ("prefill", "decode", "decode_batch", "decode_depth") if phase in figures))


def compare(args, shape):
    """All rounds of a shape."""
    models = Models(shape, args.keep or shape != "7b")
    results = {"shape": shape, "inhouse": {}, "llama_cpp": {}, "others": {}}
    depth = args.depth if shape == "1.5b" else 0  # a cache of 16k tokens of the others is too short or too large
    families = [("smollm2", ["smollm2"])] if shape == "smollm2" else FAMILIES
    for peer, kinds in families:
        kinds = [k for k in kinds if not args.types or k in args.types or k == "smollm2"]
        if not kinds:
            continue
        for number in range(args.rounds):
            turns = [("llama_cpp", peer, measure_llama_cpp)] + [("inhouse", kind, measure_inhouse) for kind in kinds]
            for engine, kind, measure in turns if number % 2 == 0 else turns[::-1]:
                if "error" in results[engine].get(kind, {}):
                    continue  # it will not get better
                at = depth if kind in GGUF else 0
                add(results, engine, kind, number, measure(args, kind, models.path(kind), at))
        models.drop({peer, *kinds})
    for name in args.others:
        results["others"][name] = others.measure(name, args, models)
        say(f"  {name}: {results['others'][name]}")
    return results


def others_table(results):
    lines = ["| engine | weights | prefill tok/s | decode tok/s | inhouse, same weights |", "|---|---|---|---|---|"]
    for name, figures in results["others"].items():
        if "error" in figures:
            lines.append(f"| {name} | | not measured: {figures['error']} | | |")
            continue
        ours = results["inhouse"].get(figures["kind"], {}).get("rounds", [])
        beside = f"prefill {ours[-1]['prefill']:.1f}, decode {ours[-1]['decode']:.1f}" if ours else ""
        lines.append(f"| {name} {figures['version']} | {figures['kind']} | {figures['prefill']:.1f} | "
                     f"{figures['decode']:.1f} | {beside} |")
    return "\n".join(lines)


def smollm2_table(results):
    lines = ["| phase | inhouse tok/s | llama.cpp tok/s |", "|---|---|---|"]
    for phase in ("prefill", "decode", "decode_batch"):
        cells = [targets.spread([r[phase] for r in results[engine].get("smollm2", {}).get("rounds", [])] or [0])
                 for engine in ("inhouse", "llama_cpp")]
        lines.append(f"| {phase} | {cells[0]} | {cells[1]} |")
    return "\n".join(lines)


def page(record):
    titles = {"smollm2": "SmolLM2-135M Q4_1 (real)", "1.5b": "1.5B Qwen2 shape (random weights)",
              "7b": "7B Llama shape (random weights)"}
    limits = record["limits"]
    parts = [f"# {record['date']}, {record['cpu']}, {record['threads']} threads, {record['isa']}",
             f"`{record['command'].strip()}`: medians of {record['rounds']} rounds in alternating order; inhouse "
             f"{record['inhouse']['version']} ({record['inhouse']['commit']}); llama.cpp {record['llama_cpp']}.",
             f"Limits measured beside it (medians): memory read {limits['memory_read_gb_s']:.1f} GB/s; f32 "
             f"{limits['dot_gop_s']['f32']:.0f}, bf16 {limits['dot_gop_s']['bf16']:.0f}, int8 "
             f"{limits['dot_gop_s']['int8']:.0f}, int4 {limits['dot_gop_s']['int4']:.0f} Gop/s, each at the level in use. A share "
             "is against the lower of the two limits of the phase, paired: measured before and after each round. int8 and "
             "int4 count VPDPBUSD (or the level's fastest chain for such weights) once."]
    if record["held_back"]:
        parts.append(f"Both engines used {record['held_back']} only, whatever else the CPU has.")
    for results in record["results"]:
        parts.append("## " + titles[results["shape"]])
        if results["shape"] == "smollm2":
            parts.append(smollm2_table(results))
        else:
            parts += [targets.table(record, results), targets.memory_table(results)]
        if results["others"]:
            parts.append(others_table(results))
    return "\n\n".join(parts) + "\n"


def cpu_name():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    return f"{fields.get('model name', 'CPU')} family {fields.get('cpu family', '?')} model {fields.get('model', '?')}"


def parse():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="no 7B shape")
    parser.add_argument("--shapes", nargs="+", choices=("smollm2", "1.5b", "7b"))
    parser.add_argument("--types", nargs="+", choices=tuple(targets.NAMES), help="only these weights")
    parser.add_argument("--others", nargs="*", default=list(others.PEERS), choices=tuple(others.PEERS), help="peers beside llama.cpp")
    parser.add_argument("--inhouse", default=os.path.join(ROOT, "build/release/inhouse"))
    parser.add_argument("--isa", choices=tuple(BACKENDS), help="hold both engines back to these instructions: no other peers")
    parser.add_argument("--inhouse-flags", type=str.split, default=[], help="more flags for inhouse bench")
    parser.add_argument("--libs", default=os.path.join(
        ROOT, "build/peers/node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"), help="llama.cpp's libraries")
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--prompt-tokens", type=int, default=512)
    parser.add_argument("--generate-tokens", type=int, default=64)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--depth", type=int, default=16384)
    parser.add_argument("--depth-tokens", type=int, default=16)
    parser.add_argument("--keep", action="store_true", help="keep the files of the 7B shape (46 GB)")
    parser.add_argument("--prefix", type=str.split, default=[],
                        help="put before each measured command, for example 'numactl -N 0 -m 0'")
    parser.add_argument("--out", default=os.path.join(ROOT, "bench/results"), help="folder for the result files")
    parser.add_argument("--picture", help="also draw the page's figures into this SVG file")
    args = parser.parse_args()
    if args.isa:
        args.others = []
    args.shapes = args.shapes or (["smollm2", "1.5b"] if args.quick else ["smollm2", "1.5b", "7b"])
    return args


def rounds_of(results, engine):
    return [r for shape in results for entry in shape[engine].values() for r in entry["rounds"]]


def first(results, engine, key):
    return next((r[key] for r in rounds_of(results, engine)), None)


def median_limits(results):
    samples = [r["limits"] for r in rounds_of(results, "inhouse")]
    if not samples:
        sys.exit("inhouse measured nothing: see the messages above")
    return {"memory_read_gb_s": statistics.median(s["memory_read_gb_s"] for s in samples),
            "dot_gop_s": {unit: statistics.median(s["dot_gop_s"][unit] for s in samples) for unit in samples[0]["dot_gop_s"]}}


def command(words):
    """What was asked for, without where files lie on this machine."""
    places = ("--out", "--picture", "--inhouse", "--libs")
    kept = [w for i, w in enumerate(words) if w not in places and (i == 0 or words[i - 1] not in places)]
    return " ".join(["scripts/bench", *kept])


def main():
    args = parse()
    version = run_json([args.inhouse, "version", "--json"])
    results = []
    for shape in args.shapes:
        say(shape)
        results.append(compare(args, shape))
    date = datetime.date.today().isoformat()
    record = {"date": date, "cpu": cpu_name(), "threads": args.threads, "rounds": args.rounds,
              "prompt_tokens": args.prompt_tokens, "generate_tokens": args.generate_tokens, "batch": args.batch,
              "depth": args.depth, "inhouse": version, "isa": first(results, "inhouse", "isa"),
              "limits": median_limits(results),
              "llama_cpp": f"{first(results, 'llama_cpp', 'version')} (npm @node-llama-cpp/linux-x64), "
                           f"{first(results, 'llama_cpp', 'backend')}",
              "held_back": args.isa, "command": command(sys.argv[1:]), "results": results}
    text = page(record)
    os.makedirs(args.out, exist_ok=True)
    parts = [date, re.sub(r"[^a-z0-9]+", "-", record["cpu"].lower()).strip("-"), *([args.isa] if args.isa else [])]
    base = os.path.join(args.out, "-".join(parts))
    for ending, content in ((".json", json.dumps(record, indent=1) + "\n"), (".md", text)):
        with open(base + ending, "w", encoding="utf-8") as f:
            f.write(content)
    if args.picture:
        picture.draw(record, args.picture)
    print(text)
    say(f"written: {os.path.relpath(base, os.getcwd())}.json and .md")


if __name__ == "__main__":
    main()
