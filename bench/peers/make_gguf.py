#!/usr/bin/env python3
"""Writes a GGUF of Qwen2.5-1.5B's shape with random weights: what a speed measurement needs.

    make_gguf.py --type Q4_K --out build/bench/random-1.5b-q4_k.gguf

The blocks are random bytes with scales that give weights of about 0.02, so any type is quick to
make and no answer depends on it. There is no tokenizer; the vocabulary is Qwen2.5's size.
"""

import argparse
import os

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD_DIM, FFN, VOCAB = 1536, 28, 12, 2, 128, 8960, 151936
SCALE = 0.02
# Bytes of the block of each type, and where its f16 scales stand with their size.
# d of Q4_K multiplies a 6-bit scale and a 4-bit value; d of Q6_K an 8-bit and a 6-bit one.
BLOCKS = {
    "Q8_0": (34, 32, {0: SCALE / 64}),
    "Q4_0": (18, 32, {0: SCALE / 4}),
    "Q4_1": (20, 32, {0: SCALE / 4, 2: -2 * SCALE}),
    "Q4_K": (144, 256, {0: SCALE / 4 / 32, 2: SCALE * 2 / 32}),
    "Q6_K": (210, 256, {208: SCALE / 16 / 64}),
}


def random_tensor(rng, kind, rows, columns):
    if kind == "BF16":  # random sign and mantissa, magnitudes from 2^-7 to 2^-5
        bits = np.frombuffer(rng.bytes(rows * columns * 2), "<u2").reshape(rows, columns)
        return ((bits & 0x80FF) | 0x3C00).view(np.uint8)
    size, values, scales = BLOCKS[kind]
    blocks = np.frombuffer(rng.bytes(rows * columns // values * size), np.uint8).reshape(-1, size).copy()
    for offset, scale in scales.items():
        blocks[:, offset:offset + 2] = np.frombuffer(np.float16(scale).tobytes(), np.uint8)
    return blocks.reshape(rows, -1)


def write(path, kind):
    rng = np.random.default_rng(1)
    raw = gguf.GGMLQuantizationType[kind]
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_name(f"random-1.5b-{kind.lower()}")
    writer.add_context_length(32768)
    writer.add_embedding_length(HIDDEN)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(FFN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(KV_HEADS)
    writer.add_rope_freq_base(1e6)
    writer.add_layer_norm_rms_eps(1e-6)
    writer.add_vocab_size(VOCAB)
    writer.add_tokenizer_model("none")
    writer.add_quantization_version(2)

    def matrix(name, rows, columns):
        writer.add_tensor(name + ".weight", random_tensor(rng, kind, rows, columns), raw_dtype=raw)

    def vector(name, size, value):
        writer.add_tensor(name, np.full(size, value, np.float32))

    matrix("token_embd", VOCAB, HIDDEN)  # also the output head
    vector("output_norm.weight", HIDDEN, 1)
    for layer in range(LAYERS):
        at = f"blk.{layer}."
        vector(at + "attn_norm.weight", HIDDEN, 1)
        vector(at + "ffn_norm.weight", HIDDEN, 1)
        for name, heads in (("attn_q", HEADS), ("attn_k", KV_HEADS), ("attn_v", KV_HEADS)):
            matrix(at + name, heads * HEAD_DIM, HIDDEN)
            vector(at + name + ".bias", heads * HEAD_DIM, 0.01)
        matrix(at + "attn_output", HIDDEN, HEADS * HEAD_DIM)
        matrix(at + "ffn_gate", FFN, HIDDEN)
        matrix(at + "ffn_up", FFN, HIDDEN)
        matrix(at + "ffn_down", HIDDEN, FFN)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--type", default="Q4_0", choices=["BF16", *BLOCKS])
    parser.add_argument("--out", required=True)
    args = parser.parse_args()
    part = args.out + ".part"
    write(part, args.type)
    os.replace(part, args.out)  # whole or not at all: the file is a cache


if __name__ == "__main__":
    main()
