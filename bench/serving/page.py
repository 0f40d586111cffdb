#!/usr/bin/env python3
"""One page and one JSON file of what the scenarios have written: page.py --out bench/results/DATE-serving build/load"""

import argparse
import json
import os

ORDER = ("streams", "idle", "day", "chats-smollm2", "chats-1.5b-q8_0", "chats-1.5b-q8_0-8bit", "chats-1.5b-q4_0",
         "chats-1.5b-q4_0-8bit", "costs")


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", required=True, help="path without an ending")
    parser.add_argument("folder", help="with NAME.json and NAME.txt of each scenario")
    args = parser.parse_args()
    records, parts = {}, []
    for name in ORDER:
        base = os.path.join(args.folder, name)
        if not os.path.exists(base + ".json"):
            continue
        with open(base + ".json", encoding="utf-8") as f:
            records[name] = json.load(f)
        with open(base + ".txt", encoding="utf-8") as f:
            text = f.read().strip()
        settings = " ".join(f"{k}={v}" for k, v in records[name]["settings"].items())
        parts.append(f"## {name}\n\n`{settings}`\n\n```\n{text}\n```")
    if not records:
        raise SystemExit(f"{args.folder}: nothing was written there")
    first = next(iter(records.values()))
    head = f"# {first['date']}, reliability under load, {first['machine']}"
    os.makedirs(os.path.dirname(args.out) or ".", exist_ok=True)
    with open(args.out + ".md", "w", encoding="utf-8") as f:
        f.write("\n\n".join([head, *parts]) + "\n")
    with open(args.out + ".json", "w", encoding="utf-8") as f:
        f.write(json.dumps(records, indent=1) + "\n")


if __name__ == "__main__":
    main()
