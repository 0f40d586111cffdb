#!/usr/bin/env python3
"""Makes tests/fixtures/models from a folder of golden cases: make_fixtures.py FOLDER CASE…

With --adapters, the cases are LoRA adapters and go to tests/fixtures/adapters.

A case is a small checkpoint and expected.safetensors with p0, p1, p2 (.ids, .logits, .greedy), made by
the reference implementation in float64. The checkpoint is copied; of the longest prompt's logits every
fifth row and the last four stay, because float32 logits do not compress and all rows of a prompt go
through the same code. `pK.rows` says which rows stayed, `pK.scale` is the largest |logit| of all rows.
"""

import os
import shutil
import sys

import numpy as np
from safetensors import safe_open

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "../fixtures")


def reduce(source, target):
    arrays = {}
    with safe_open(source, "np") as golden:
        meta = golden.metadata()
        for prompt in ("p0", "p1", "p2"):
            logits = golden.get_tensor(prompt + ".logits")
            n = len(logits)
            rows = np.arange(n) if n <= 20 else np.unique(np.r_[0:n:5, n - 4:n])
            arrays[prompt + ".ids"] = golden.get_tensor(prompt + ".ids")
            arrays[prompt + ".greedy"] = golden.get_tensor(prompt + ".greedy")
            arrays[prompt + ".rows"] = rows
            arrays[prompt + ".logits"] = logits[rows]
            arrays[prompt + ".scale"] = np.abs(logits).max()
    if "base" in meta:  # an adapter's
        arrays["base"] = np.array(meta["base"])
    np.savez_compressed(target, weights=np.array(meta["weights"]), margin=np.float64(meta["margin"]), **arrays)


def main():
    kind = "adapters" if "--adapters" in sys.argv else "models"
    folder, *cases = [argument for argument in sys.argv[1:] if argument != "--adapters"]
    for case in cases:
        target = os.path.join(FIXTURES, kind, case)
        shutil.rmtree(target, ignore_errors=True)
        os.makedirs(target)
        for name in sorted(os.listdir(os.path.join(folder, case))):
            source = os.path.join(folder, case, name)
            if name == "expected.safetensors":
                reduce(source, os.path.join(target, "expected.npz"))
            elif name != "train.safetensors":  # judges training
                shutil.copyfile(source, os.path.join(target, name))


if __name__ == "__main__":
    main()
