"""Shapes of the models that the benchmark makes, and their random bytes."""

import dataclasses

import numpy as np

SCALE = 0.02  # magnitude of a weight


@dataclasses.dataclass(frozen=True)
class Shape:
    name: str
    family: str  # "qwen2" or "llama"
    hidden: int
    layers: int
    heads: int
    kv_heads: int
    head_dim: int
    ffn: int
    vocab: int
    tied: bool
    rope_theta: float
    context: int = 32768

    def matrices(self, layer):
        """(Hugging Face name, GGUF name, rows, columns) of a layer."""
        hf, gguf = f"model.layers.{layer}.", f"blk.{layer}."
        q, kv = self.heads * self.head_dim, self.kv_heads * self.head_dim
        return [(hf + "self_attn.q_proj", gguf + "attn_q", q, self.hidden),
                (hf + "self_attn.k_proj", gguf + "attn_k", kv, self.hidden),
                (hf + "self_attn.v_proj", gguf + "attn_v", kv, self.hidden),
                (hf + "self_attn.o_proj", gguf + "attn_output", self.hidden, q),
                (hf + "mlp.gate_proj", gguf + "ffn_gate", self.ffn, self.hidden),
                (hf + "mlp.up_proj", gguf + "ffn_up", self.ffn, self.hidden),
                (hf + "mlp.down_proj", gguf + "ffn_down", self.hidden, self.ffn)]

    def has_bias(self, hf_name):
        return self.family == "qwen2" and hf_name.endswith(("q_proj", "k_proj", "v_proj"))


SHAPES = {
    "1.5b": Shape("1.5b", "qwen2", 1536, 28, 12, 2, 128, 8960, 151936, True, 1e6),
    "7b": Shape("7b", "llama", 4096, 32, 32, 32, 128, 11008, 32000, False, 1e4),
}


class Bytes:
    """Random bytes, quickly: one block of 32 MiB, read from another place for each tensor. Speed does
    not depend on the values, and nothing here can tell that they repeat."""

    def __init__(self, seed):
        self.block = np.random.default_rng(seed).integers(0, 256, (32 << 20) + 4099, np.uint8)
        self.at = 0

    def take(self, n):
        self.at = (self.at + 7919 * 64) % self.block.size
        return np.resize(np.roll(self.block, -self.at), n)

    def bf16(self, n):
        """Random sign and mantissa, magnitudes from 2^-7 to 2^-5."""
        return (self.take(2 * n).view("<u2") & 0x80FF) | 0x3C00

    def f8(self, n):
        """E4M3 codes of magnitudes below 240: no NaN."""
        return self.take(n) & 0xF7
