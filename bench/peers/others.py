"""Peers beside llama.cpp: optional, each in its own environment under build/peers."""

import json
import os
import subprocess

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
HERE = os.path.dirname(os.path.abspath(__file__))
# name -> (which weights of which shape it can read, its driver)
PEERS = {"vllm": ({"1.5b": "hf-bf16"}, "vllm_cpu.py"), "openvino": ({"smollm2": "smollm2"}, "openvino_genai_peer.py")}


def measure(name, args, models):
    kinds, driver = PEERS[name]
    python = os.path.join(ROOT, "build/peers", name, "bin/python")
    if models.shape not in kinds:
        return {"error": f"its driver reads {', '.join(kinds)} only"}
    if not os.path.exists(python):
        log = os.path.join(ROOT, "build/peers", name + ".log")
        why = open(log, encoding="utf-8").read().strip().split("\n")[-1] if os.path.exists(log) else "never tried"
        return {"error": f"not installed: {why[-200:]}"}
    kind = kinds[models.shape]
    command = [*args.prefix, python, os.path.join(HERE, driver), "--model", models.path(kind), "--threads", str(args.threads),
               "--prompt-tokens", str(args.prompt_tokens), "--generate-tokens", str(args.generate_tokens)]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=900)
        return {"kind": "bf16" if kind == "hf-bf16" else kind, **json.loads(done.stdout.strip().split("\n")[-1])}
    except subprocess.TimeoutExpired:
        return {"error": "no result within 900 s"}
    except (ValueError, IndexError):
        lines = [line for line in done.stderr.strip().split("\n") if "Error" in line] or [f"exit {done.returncode}"]
        return {"error": lines[-1][-200:]}
