#!/usr/bin/env python3
"""Writes a Hugging Face directory of a shape with random weights, in BF16 or quantized.

    make_hf.py --shape 1.5b --type int8 --out build/bench/1.5b-int8

bf16; fp8 = DeepSeek's own format (e4m3, float32 `weight_scale_inv` for each block of 128 x 128); int8 and
int4 = compressed-tensors `pack-quantized`, groups of 128. Embeddings, head and norms stay in BF16, as in
official checkpoints. There is no tokenizer.
"""

import argparse
import json
import os
import shutil
import struct

import numpy as np
from shapes import SCALE, SHAPES, Bytes

GROUP = 128
TYPES = ("bf16", "fp8", "int8", "int4")


def quantization(kind):
    if kind == "bf16":
        return {}
    if kind == "fp8":
        return {"quantization_config": {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic",
                                        "weight_block_size": [128, 128]}}
    weights = {"num_bits": int(kind[3:]), "type": "int", "symmetric": True, "strategy": "group", "group_size": GROUP,
               "dynamic": False, "observer": "minmax", "actorder": None, "block_structure": None,
               "observer_kwargs": {}}
    group = {"weights": weights, "input_activations": None, "output_activations": None, "targets": ["Linear"]}
    return {"quantization_config": {"quant_method": "compressed-tensors", "format": "pack-quantized",
                                    "quantization_status": "compressed", "ignore": ["lm_head"],
                                    "kv_cache_scheme": None, "config_groups": {"group_0": group}}}


def config(shape, kind):
    family = {"qwen2": "Qwen2ForCausalLM", "llama": "LlamaForCausalLM"}[shape.family]
    return {"architectures": [family], "model_type": shape.family, "hidden_size": shape.hidden,
            "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads,
            "num_key_value_heads": shape.kv_heads, "head_dim": shape.head_dim, "intermediate_size": shape.ffn,
            "vocab_size": shape.vocab, "tie_word_embeddings": shape.tied, "rope_theta": shape.rope_theta,
            "rms_norm_eps": 1e-6, "hidden_act": "silu", "max_position_embeddings": shape.context,
            "torch_dtype": "bfloat16", "bos_token_id": 0, "eos_token_id": 1, "initializer_range": SCALE,
            **quantization(kind)}


def matrix(name, rows, columns, kind):
    """(name, dtype, shape, how to fill it) of the tensors that store one matrix."""
    scales = (rows, -(-columns // GROUP))
    if kind == "bf16":
        return [(name + ".weight", "BF16", (rows, columns), "bf16")]
    if kind == "fp8":
        return [(name + ".weight", "F8_E4M3", (rows, columns), "f8"),
                (name + ".weight_scale_inv", "F32", (-(-rows // 128), -(-columns // 128)), SCALE / 16)]
    per_word = 32 // int(kind[3:])
    scale = SCALE / (64 if kind == "int8" else 4)
    return [(name + ".weight_packed", "I32", (rows, -(-columns // per_word)), "bytes"),
            (name + ".weight_scale", "BF16", scales, scale), (name + ".weight_shape", "I64", (2,), (rows, columns))]


def tensors(shape, kind):
    yield "model.embed_tokens.weight", "BF16", (shape.vocab, shape.hidden), "bf16"
    if not shape.tied:
        yield "lm_head.weight", "BF16", (shape.vocab, shape.hidden), "bf16"
    yield "model.norm.weight", "BF16", (shape.hidden,), 1.0
    for layer in range(shape.layers):
        at = f"model.layers.{layer}."
        yield at + "input_layernorm.weight", "BF16", (shape.hidden,), 1.0
        yield at + "post_attention_layernorm.weight", "BF16", (shape.hidden,), 1.0
        for name, _, rows, columns in shape.matrices(layer):
            yield from matrix(name, rows, columns, kind)
            if shape.has_bias(name):
                yield name + ".bias", "BF16", (rows,), 0.01


WIDTH = {"BF16": 2, "F8_E4M3": 1, "F32": 4, "I32": 4, "I64": 8}


def content(source, dtype, shape, filling):
    n = int(np.prod(shape))
    if filling == "bf16":
        return source.bf16(n)
    if filling == "f8":
        return source.f8(n)
    if filling == "bytes":
        return source.take(n * WIDTH[dtype])
    if isinstance(filling, tuple):
        return np.array(filling, "<i8")
    values = np.full(n, filling, "<f4")
    return (values.view("<u4") >> 16).astype("<u2") if dtype == "BF16" else values


def write(folder, shape, kind):
    """One safetensors file, tensor by tensor, so that memory holds one."""
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as f:
        json.dump(config(shape, kind), f, indent=1)
    entries, at = {"__metadata__": {"format": "pt"}}, 0
    for name, dtype, size, _ in tensors(shape, kind):
        n = int(np.prod(size)) * WIDTH[dtype]
        entries[name] = {"dtype": dtype, "shape": list(size), "data_offsets": [at, at + n]}
        at += n
    header = json.dumps(entries).encode()
    header += b" " * (-len(header) % 64)
    source = Bytes(1)
    with open(os.path.join(folder, "model.safetensors"), "wb") as f:
        f.write(struct.pack("<Q", len(header)) + header)
        for _, dtype, size, filling in tensors(shape, kind):
            content(source, dtype, size, filling).tofile(f)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="1.5b", choices=SHAPES)
    parser.add_argument("--type", default="bf16", choices=TYPES)
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    part = args.out + ".part"
    shutil.rmtree(part, ignore_errors=True)
    os.makedirs(part)
    write(part, SHAPES[args.shape], args.type)
    shutil.rmtree(args.out, ignore_errors=True)
    os.rename(part, args.out)  # whole or not at all: the folder is a cache


if __name__ == "__main__":
    main()
