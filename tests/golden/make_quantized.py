#!/usr/bin/env python3
"""Makes the quantized cases of tests/fixtures/models: make_quantized.py [CASE…]

A small Llama with random weights (fixed seed), its matrices rounded to codes and packed as the published formats
pack them, and what a float64 forward pass computes from the exact values of those codes. `--check` compares the
forward pass with the goldens `llama` and `llama-fp8`, which the reference implementation made.
"""

import json
import os
import shutil
import sys

import numpy as np

from llama_float64 import Llama, expectations
from quantized_formats import SCHEMES
from safetensors_file import bf16, read_safetensors, write_safetensors

HERE = os.path.dirname(os.path.abspath(__file__))
FIXTURES = os.path.join(HERE, "../fixtures/models")

CONFIG = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_size": 128, "intermediate_size": 256,
    "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 32, "vocab_size": 96,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 10000.0, "tie_word_embeddings": False,
    "hidden_act": "silu", "attention_bias": False, "mlp_bias": False, "bos_token_id": 0, "eos_token_id": 1,
    "torch_dtype": "bfloat16",
}
SHAPES = {
    "self_attn.q_proj": (128, 128), "self_attn.k_proj": (64, 128), "self_attn.v_proj": (64, 128),
    "self_attn.o_proj": (128, 128), "mlp.gate_proj": (256, 128), "mlp.up_proj": (256, 128),
    "mlp.down_proj": (128, 256),
}


def random_weights():
    """Name -> float64 of every tensor; what is not a matrix of a layer is exact in BF16."""
    random = np.random.default_rng(20)

    def exact(values):
        return bf16(values)[1]

    weights = {
        "model.embed_tokens.weight": exact(random.normal(size=(96, 128))),
        "model.norm.weight": exact(1 + 0.2 * random.normal(size=128)),
        "lm_head.weight": exact(random.normal(size=(96, 128)) / np.sqrt(128)),
    }
    for layer in range(CONFIG["num_hidden_layers"]):
        prefix = f"model.layers.{layer}."
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{norm}.weight"] = exact(1 + 0.2 * random.normal(size=128))
        for module, shape in SHAPES.items():
            weights[f"{prefix}{module}.weight"] = random.normal(size=shape) / np.sqrt(shape[1])
    return weights


def make(case):
    scheme = SCHEMES[case]
    tensors, values = {}, {}
    for name, value in random_weights().items():
        module = name.removesuffix(".weight")
        pack = scheme.packer(module)
        if pack is None:
            tensors[name], values[name] = bf16(value)
            continue
        parts, values[name] = pack(value)
        tensors.update({f"{module}.{suffix}": tensor for suffix, tensor in parts.items()})
    target = os.path.join(FIXTURES, case)
    shutil.rmtree(target, ignore_errors=True)
    os.makedirs(target)
    write_safetensors(os.path.join(target, "model.safetensors"), tensors)
    with open(os.path.join(target, "config.json"), "w", encoding="utf-8") as file:
        json.dump({**CONFIG, "quantization_config": scheme.config}, file, indent=2)
        file.write("\n")
    random = np.random.default_rng(21)
    prompts = [random.integers(2, 96, size=n) for n in (1, 17, 70)]
    np.savez_compressed(os.path.join(target, "expected.npz"), weights=np.array(scheme.weights),
                        **expectations(Llama(CONFIG, values), prompts))
    print(case, "written")


def check():
    for case in ("llama", "llama-fp8"):
        folder = os.path.join(FIXTURES, case)
        with open(os.path.join(folder, "config.json"), encoding="utf-8") as file:
            config = json.load(file)
        golden = np.load(os.path.join(folder, "expected.npz"))
        model = Llama(config, read_safetensors(os.path.join(folder, "model.safetensors")))
        for prompt in ("p0", "p1", "p2"):
            logits = model.logits(golden[prompt + ".ids"])[golden[prompt + ".rows"]]
            error = np.abs(logits - golden[prompt + ".logits"]).max() / golden[prompt + ".scale"]
            print(f"{case} {prompt}: {error:.1e}")
            if not error < 1e-6:  # the goldens are stored in float32
                sys.exit(f"the forward pass differs from {case}")


def main():
    if sys.argv[1:] == ["--check"]:
        check()
    else:
        for case in sys.argv[1:] or SCHEMES:
            make(case)


if __name__ == "__main__":
    main()
