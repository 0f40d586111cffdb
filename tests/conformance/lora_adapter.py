"""Writes LoRA adapters with random weights in PEFT's layout, for models of the llama family."""

import json
import os
import sys

import numpy as np

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "../golden"))
from safetensors_file import raw, write_safetensors  # noqa: E402

# What of a model's dimensions goes in and out of a module.
MODULES = {
    "self_attn.q_proj": ("hidden", "q"), "self_attn.k_proj": ("hidden", "kv"), "self_attn.v_proj": ("hidden", "kv"),
    "self_attn.o_proj": ("q", "hidden"), "mlp.gate_proj": ("hidden", "inner"), "mlp.up_proj": ("hidden", "inner"),
    "mlp.down_proj": ("inner", "hidden"),
}
SMOLLM2 = {"layers": 30, "hidden": 576, "q": 576, "kv": 192, "inner": 1536}


def write_adapter(folder, seed, rank=8, size=0.5, sizes=None, modules=tuple(MODULES), dtype=np.float32):
    """`size` is how much of a module's own output the update is, roughly."""
    sizes = sizes or SMOLLM2
    random = np.random.default_rng(seed)
    tensors = {}
    for layer in range(sizes["layers"]):
        for module in modules:
            into, out = (sizes[end] for end in MODULES[module])
            prefix = f"base_model.model.model.layers.{layer}.{module}"
            a = random.normal(0, 1 / np.sqrt(into), (rank, into))
            b = random.normal(0, size / np.sqrt(rank), (out, rank))
            for name, matrix in (("lora_A", a), ("lora_B", b)):
                tensors[f"{prefix}.{name}.weight"] = raw("F32" if dtype == np.float32 else "F16", matrix.astype(dtype))
    os.makedirs(folder, exist_ok=True)
    write_safetensors(os.path.join(folder, "adapter_model.safetensors"), tensors)
    with open(os.path.join(folder, "adapter_config.json"), "w", encoding="utf-8") as file:
        json.dump({"peft_type": "LORA", "task_type": "CAUSAL_LM", "r": rank, "lora_alpha": rank, "bias": "none",
                   "target_modules": sorted(module.split(".")[1] for module in modules)}, file)
    return folder


if __name__ == "__main__":
    write_adapter(sys.argv[1], int(sys.argv[2]), *(int(rank) for rank in sys.argv[3:4]))
