"""What the engine is to reach, and the table that says whether it does.

A target stands for two kinds of machine: AVX-512 with VNNI and BF16, and AVX2.
"""

import dataclasses
import statistics


@dataclasses.dataclass(frozen=True)
class Row:
    phase: str  # key in the measurements of the peer
    model: str  # type of ours
    peer: str  # type of llama.cpp's
    share: tuple  # of the paired limit: AVX-512, AVX2
    ratio: tuple  # to llama.cpp
    bits: int = 16  # of the activations that meet integer weights

    @property
    def key(self):
        """The phase's name in the measurements of inhouse."""
        return self.phase if self.bits == 16 else f"{self.phase}_{self.bits}bit"


ROWS = [
    Row("decode", "bf16", "bf16", (0.92, 0.90), (1.15, 1.15)),
    Row("decode", "int8", "q8_0", (0.92, 0.90), (1.55, 1.35)),
    Row("decode", "q8_0", "q8_0", (0.92, 0.90), (1.50, 1.30)),
    Row("decode", "fp8", "q8_0", (0.92, 0.85), (1.55, 1.20)),
    Row("decode", "int4", "q4_0", (0.88, 0.85), (1.25, 1.40)),
    Row("decode", "q4_0", "q4_0", (0.88, 0.85), (1.25, 1.40)),
    Row("decode", "q4_k", "q4_k", (0.88, 0.85), (1.25, 1.40)),
    Row("prefill", "bf16", "bf16", (0.85, 0.85), (2.7, 2.5)),
    Row("prefill", "fp8", "bf16", (0.80, 0.85), (2.7, 2.5)),
    Row("prefill", "int8", "q8_0", (0.75, 0.75), (3.2, 2.0)),
    Row("prefill", "int8", "q8_0", (0.75, 0.75), (3.2, 2.0), bits=8),
    Row("prefill", "q8_0", "q8_0", (0.60, 0.75), (3.2, 2.0)),
    Row("prefill", "q8_0", "q8_0", (0.60, 0.75), (3.2, 2.0), bits=8),
    Row("prefill", "int4", "q4_0", (0.72, 0.72), (2.2, 2.0)),
    Row("prefill", "int4", "q4_0", (0.72, 0.72), (2.2, 2.0), bits=8),
    Row("prefill", "q4_0", "q4_0", (0.60, 0.60), (2.2, 2.0)),
    Row("prefill", "q4_0", "q4_0", (0.60, 0.60), (2.2, 2.0), bits=8),
    Row("prefill", "q4_k", "q4_k", (0.50, 0.50), (2.2, 2.0)),
    Row("prefill", "q4_k", "q4_k", (0.50, 0.50), (2.2, 2.0), bits=8),
    Row("decode_batch", "int8", "q8_0", (0.70, 0.70), (3.5, 3.5)),
    Row("decode_batch", "int8", "q8_0", (0.70, 0.70), (3.5, 3.5), bits=8),
    Row("decode_batch", "int4", "q4_0", (0.70, 0.70), (2.0, 2.0)),
    Row("decode_batch", "int4", "q4_0", (0.70, 0.70), (2.0, 2.0), bits=8),
    Row("decode_batch", "bf16", "bf16", (0.70, 0.70), (2.4, 2.4)),
    Row("decode_depth", "q8_0", "q8_0", (0.80, 0.80), (1.5, 1.5)),
    Row("decode_depth", "q4_0", "q4_0", (0.80, 0.80), (1.5, 1.5)),
    Row("decode_depth", "bf16", "bf16", (0.80, 0.80), (1.5, 1.5)),
]
# Integer weights: their prompts and crowds are also measured with 8-bit activations, which is what llama.cpp computes with.
INTEGER = tuple(dict.fromkeys(row.model for row in ROWS if row.bits == 8))
NAMES = {"bf16": "BF16", "int8": "INT8 g128", "q8_0": "Q8_0", "fp8": "FP8", "int4": "INT4 g128", "q4_0": "Q4_0",
         "q4_k": "Q4_K"}
SAME_MEMORY = 1.15  # reads of it that differ by no more count as the same
MEMORY_OVER = 300 << 20  # beside weights and KV
LOAD_GB_S = 8


def title(row, record):
    return {"decode": "decode, 1 sequence", "prefill": f"prefill {record['prompt_tokens']}",
            "decode_batch": f"decode, {record['batch']} sequences",
            "decode_depth": f"decode after {record['depth']}"}[row.phase]


def spread(values):
    return f"{min(values):.1f} / {statistics.median(values):.1f} / {max(values):.1f}"


def against(value, target, form):
    """A figure beside what it should be: a miss is shown as one."""
    return f"{form(value)} (≥ {form(target)}{'' if value >= target else ', **missed**'})"


def percent(x):
    return f"{x:.0%}"


def times(x):
    return f"{x:.2f}×"


def same_memory(row, ours, theirs):
    """Whether the memory was as fast beside our phase as before and after theirs: it may change in the middle of one."""
    reads = [ours["memory_read_gb_s"][row.key], *theirs["memory_read_gb_s"].get(row.phase, [])]
    return max(reads) <= SAME_MEMORY * min(reads)


def most(row, ours, theirs):
    """The ratio of an engine that reads our bytes at the speed that was measured beside llama.cpp."""
    read = statistics.mean(theirs["memory_read_gb_s"][row.phase])
    return ours["limit"][row.key] * read / ours["memory_read_gb_s"][row.key] / theirs[row.phase]


def evaluate(row, results, wide):
    """The figures of a row from the rounds of one shape, or why there are none."""
    ours, theirs = results["inhouse"].get(row.model, {}), results["llama_cpp"].get(row.peer, {})
    if "error" in ours:
        return {"error": ours["error"]}
    rounds = [r for r in ours.get("rounds", []) if row.key in r]
    if not rounds:
        return None
    figures = {"rates": [r[row.key] for r in rounds], "bound": rounds[0]["bound"][row.key],
               "share": statistics.median(r["of_limit"][row.key] for r in rounds),
               "share_target": row.share[0 if wide else 1], "ratio_target": row.ratio[0 if wide else 1]}
    peers = {r["round"]: r for r in theirs.get("rounds", []) if row.phase in r}
    pairs = [(r, peers[r["round"]]) for r in rounds if r["round"] in peers]
    if pairs:
        figures["peer_rates"] = [b[row.phase] for _, b in pairs]
        figures["rounds"] = len(pairs)
        like = [pair for pair in pairs if figures["bound"] != "memory" or same_memory(row, *pair)]
        figures["like_rounds"] = len(like)
        pairs = like or pairs
        figures["ratio"] = statistics.median(a[row.key] / b[row.phase] for a, b in pairs)
        if figures["bound"] == "memory":
            figures["most"] = statistics.median(most(row, *pair) for pair in pairs)
    else:
        figures["peer_error"] = theirs.get("error", "not measured")
    return figures


def ratio_cell(figures):
    cell = against(figures["ratio"], figures["ratio_target"], times)
    if figures["ratio"] < figures["ratio_target"] and "most" in figures:
        cell += f"; the memory allowed {times(figures['most'])}"
    if 0 < figures["like_rounds"] < figures["rounds"]:
        cell += f" ({figures['like_rounds']} of {figures['rounds']} rounds)"
    elif figures["like_rounds"] == 0:
        cell += " (no round with the same memory for both)"
    return cell


def table(record, results):
    wide = "avx512" in (record["isa"] or "")
    lines = ["| phase | weights | inhouse tok/s (min / median / max) | of the paired limit (target) | llama.cpp tok/s "
             "| ratio to llama.cpp (target) |", "|---|---|---|---|---|---|"]
    for row in ROWS:
        figures = evaluate(row, results, wide)
        if figures is None:
            continue
        name = NAMES[row.model] + ("" if row.bits == 16 else f", {row.bits}-bit activations")
        if "error" in figures:
            lines.append(f"| {title(row, record)} | {name} | not measured: {figures['error']} | | | |")
            continue
        peer = f"{spread(figures['peer_rates'])} ({NAMES[row.peer]})" if "ratio" in figures else figures["peer_error"]
        ratio = ratio_cell(figures) if "ratio" in figures else ""
        share = against(figures["share"], figures["share_target"], percent) + f", {figures['bound']}"
        lines.append(f"| {title(row, record)} | {name} | {spread(figures['rates'])} | {share} | {peer} | {ratio} |")
    return "\n".join(lines)


def memory_table(results):
    lines = ["| weights | in memory | peak of a prompt beside weights and KV (target) | load of a cached file (target) "
             "| llama.cpp peak |", "|---|---|---|---|---|"]
    for kind, name in NAMES.items():
        ours = results["inhouse"].get(kind, {})
        if not ours.get("rounds"):
            continue
        rounds = ours["rounds"]
        over = statistics.median(r["peak_over_bytes"] for r in rounds)
        load = statistics.median(r["load_gb_s"] for r in rounds)
        missed = "" if over <= MEMORY_OVER else ", **missed**"
        theirs = results["llama_cpp"].get(kind, {}).get("rounds", [])
        peak = f"{theirs[0]['peak_rss_bytes'] / 1e9:.2f} GB" if theirs else ""
        lines.append(f"| {name} | {rounds[0]['weight_bytes'] / 1e9:.2f} GB | {over / (1 << 20):.0f} MiB "
                     f"(≤ {MEMORY_OVER >> 20} MiB{missed}) | {against(load, LOAD_GB_S, lambda x: f'{x:.1f} GB/s')} "
                     f"| {peak} |")
    return "\n".join(lines)
