"""Percentiles, the table that is printed, and the bounds that decide the exit code."""

import datetime
import json
import math
import re
import sys


def percentile(values, share):
    """The smallest value that `share` of them do not exceed (nearest rank); NaN of nothing."""
    if not values:
        return float("nan")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def spread(values, scale=1000.0, digits=1):
    """{"p50", "p95", "p99", "max", "n"}, in milliseconds of seconds."""
    return {**{f"p{p}": round(scale * percentile(values, p / 100), digits) for p in (50, 95, 99)},
            "max": round(scale * max(values), digits) if values else float("nan"), "n": len(values)}


def spread_text(figures, unit="ms"):
    return f"p50 {figures['p50']} / p95 {figures['p95']} / p99 {figures['p99']} / max {figures['max']} {unit} ({figures['n']})"


def slope(samples):
    """Least squares of (seconds, value): value per second."""
    if len(samples) < 2:
        return 0.0
    mean_x = sum(x for x, _ in samples) / len(samples)
    mean_y = sum(y for _, y in samples) / len(samples)
    below = sum((x - mean_x) ** 2 for x, _ in samples)
    return sum((x - mean_x) * (y - mean_y) for x, y in samples) / below if below else 0.0


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    cores = len(re.findall(r"^processor", text, re.MULTILINE))
    return (f"{fields.get('model name', 'CPU')} family {fields.get('cpu family', '?')} model {fields.get('model', '?')}, "
            f"{cores} cores, shared by server and clients")


class Report:
    """What a scenario found: rows for people, a record for machines, bounds for the exit code."""

    def __init__(self, scenario, settings):
        self.record = {"scenario": scenario, "date": datetime.date.today().isoformat(), "machine": machine(),
                       "settings": settings, "figures": {}, "bounds": []}
        self.rows = []

    def add(self, name, key, value, text=None):
        self.record["figures"][key] = value
        self.rows.append((name, str(value) if text is None else text))

    def table(self, heading, rows):
        """More rows than names and values: a list of lists, the first of them the header."""
        self.record["figures"][heading] = [dict(zip(rows[0], row)) for row in rows[1:]]
        widths = [max(len(str(row[i])) for row in rows) for i in range(len(rows[0]))]
        self.rows.append((heading, "\n" + "\n".join(
            "  " + "  ".join(str(cell).rjust(width) for cell, width in zip(row, widths)) for row in rows)))

    def bound(self, name, value, limit, below=True, unit=""):
        """A value that must stay below the limit (or reach it)."""
        held = value < limit if below else value >= limit
        self.record["bounds"].append({"name": name, "value": value, "limit": limit, "below": below, "held": bool(held)})
        self.rows.append((f"bound: {name}", f"{value:.6g} {'<' if below else '>='} {limit:g} {unit}".rstrip()
                          + ("" if held else "  MISSED")))

    @property
    def held(self):
        return all(bound["held"] for bound in self.record["bounds"])

    def write(self, path):
        with open(path, "w", encoding="utf-8") as f:
            f.write(json.dumps(self.record, indent=1) + "\n")

    def finish(self, as_json):
        """Prints; the exit code."""
        if as_json:
            print(json.dumps(self.record, indent=1))
        else:
            print(f"{self.record['scenario']}, {self.record['date']}, {self.record['machine']}")
            width = max(len(name) for name, _ in self.rows)
            for name, text in self.rows:
                print(f"{name.ljust(width)}  {text}")
        sys.stdout.flush()
        return 0 if self.held else 1
