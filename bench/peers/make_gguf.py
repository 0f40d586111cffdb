#!/usr/bin/env python3
"""Writes a GGUF of a shape with random weights: what a speed measurement needs.

    make_gguf.py --shape 1.5b --type Q4_K --out build/bench/1.5b-q4_k.gguf
    make_gguf.py --shape 1.5b --type Q4_0 --tokenizer build/tokenizers/qwen2.5 --out build/bench/1.5b-q4_0-chat.gguf

The blocks are random bytes with scales that give weights of about 0.02, so any type is quick to
make and no answer depends on it. There is no tokenizer, unless one of Qwen's kind is asked for.
"""

import argparse
import os

import gguf
import gguf_tokenizer
import numpy as np
from shapes import SCALE, SHAPES, Bytes

# Bytes of the block of each type, and where its f16 scales stand with their size.
# d of Q4_K multiplies a 6-bit scale and a 4-bit value; d of Q6_K an 8-bit and a 6-bit one.
BLOCKS = {
    "Q8_0": (34, 32, {0: SCALE / 64}),
    "Q4_0": (18, 32, {0: SCALE / 4}),
    "Q4_1": (20, 32, {0: SCALE / 4, 2: -2 * SCALE}),
    "Q4_K": (144, 256, {0: SCALE / 4 / 32, 2: SCALE * 2 / 32}),
    "Q6_K": (210, 256, {208: SCALE / 16 / 64}),
}


def random_tensor(source, kind, rows, columns):
    if kind == "BF16":
        return source.bf16(rows * columns).reshape(rows, columns).view(np.uint8)
    size, values, scales = BLOCKS[kind]
    blocks = source.take(rows * columns // values * size).reshape(-1, size)
    for offset, scale in scales.items():
        blocks[:, offset:offset + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def header(writer, shape, kind, tokenizer):
    writer.add_name(f"random-{shape.name}-{kind.lower()}")
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.hidden)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.ffn)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_rope_dimension_count(shape.head_dim)
    writer.add_rope_freq_base(shape.rope_theta)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(shape.vocab)
    if tokenizer:
        gguf_tokenizer.add_qwen2(writer, tokenizer, shape.vocab)
    else:
        writer.add_tokenizer_model("none")
    writer.add_quantization_version(2)


def tensors(shape):
    """(name, rows, columns) of every tensor; columns 0 = a vector of float32."""
    yield "token_embd.weight", shape.vocab, shape.hidden
    if not shape.tied:
        yield "output.weight", shape.vocab, shape.hidden
    yield "output_norm.weight", shape.hidden, 0
    for layer in range(shape.layers):
        yield f"blk.{layer}.attn_norm.weight", shape.hidden, 0
        yield f"blk.{layer}.ffn_norm.weight", shape.hidden, 0
        for hf_name, name, rows, columns in shape.matrices(layer):
            yield name + ".weight", rows, columns
            if shape.has_bias(hf_name):
                yield name + ".bias", rows, 0


def write(path, shape, kind, tokenizer=None):
    """Describes all tensors first and writes one after the other, so that memory holds one."""
    source = Bytes(1)
    raw = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, shape.family)
    header(writer, shape, kind, tokenizer)
    for name, rows, columns in tensors(shape):
        if columns:
            size, values = (2, 1) if kind == "BF16" else BLOCKS[kind][:2]
            row_bytes = columns // values * size
            writer.add_tensor_info(name, (rows, row_bytes), np.dtype(np.uint8), rows * row_bytes, raw_dtype=raw)
        else:
            writer.add_tensor_info(name, (rows,), np.dtype(np.float32), rows * 4)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    for name, rows, columns in tensors(shape):
        value = 0.01 if name.endswith("bias") else 1
        writer.write_tensor_data(random_tensor(source, kind, rows, columns) if columns
                                 else np.full(rows, value, np.float32))
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--shape", default="1.5b", choices=SHAPES)
    parser.add_argument("--type", default="Q4_0", choices=["BF16", *BLOCKS])
    parser.add_argument("--tokenizer", help="directory of a tokenizer.json")
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    part = args.out + ".part"
    write(part, SHAPES[args.shape], args.type, args.tokenizer)
    os.replace(part, args.out)  # whole or not at all: the file is a cache


if __name__ == "__main__":
    main()
