"""The Llama forward pass in float64, as plain as it can be written (Touvron et al. 2023; half-split RoPE as in
transformers' modeling_llama.py). No cache: every row of logits comes from one pass over the prompt."""

import numpy as np


def rms_norm(x, weight, eps):
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * weight


def llama3_frequencies(frequencies, scaling):
    """rope_type llama3: long waves are stretched, short ones kept, those between blended."""
    factor, low, high = scaling["factor"], scaling["low_freq_factor"], scaling["high_freq_factor"]
    turns = scaling["original_max_position_embeddings"] * frequencies / (2 * np.pi)
    blend = np.clip((turns - low) / (high - low), 0, 1)
    return (1 - blend) * frequencies / factor + blend * frequencies


class Llama:
    def __init__(self, config, weights):
        self.config, self.weights = config, weights
        self.heads, self.kv_heads = config["num_attention_heads"], config["num_key_value_heads"]
        self.head_dim = config.get("head_dim") or config["hidden_size"] // self.heads
        rope = config.get("rope_parameters") or config  # transformers from 5 on, and before
        frequencies = rope["rope_theta"] ** -(np.arange(0, self.head_dim, 2) / self.head_dim)
        if rope.get("rope_type") == "llama3":
            frequencies = llama3_frequencies(frequencies, rope)
        self.frequencies = frequencies

    def rotate(self, x):
        angles = np.arange(len(x))[:, None, None] * self.frequencies
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * np.cos(angles) - b * np.sin(angles), b * np.cos(angles) + a * np.sin(angles)], -1)

    def attend(self, x, prefix):
        n, w = len(x), self.weights
        q = self.rotate((x @ w[prefix + "q_proj.weight"].T).reshape(n, self.heads, self.head_dim))
        k = self.rotate((x @ w[prefix + "k_proj.weight"].T).reshape(n, self.kv_heads, self.head_dim))
        v = (x @ w[prefix + "v_proj.weight"].T).reshape(n, self.kv_heads, self.head_dim)
        k, v = (np.repeat(t, self.heads // self.kv_heads, axis=1) for t in (k, v))
        scores = np.einsum("ihd,jhd->hij", q, k) / np.sqrt(self.head_dim)
        scores = np.where(np.tri(n, dtype=bool), scores, -np.inf)
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        scores /= scores.sum(-1, keepdims=True)
        return np.einsum("hij,jhd->ihd", scores, v).reshape(n, -1) @ w[prefix + "o_proj.weight"].T

    def logits(self, ids):
        """[len(ids), vocabulary]"""
        w, eps = self.weights, self.config["rms_norm_eps"]
        x = w["model.embed_tokens.weight"][ids]
        for layer in range(self.config["num_hidden_layers"]):
            prefix = f"model.layers.{layer}."
            x = x + self.attend(rms_norm(x, w[prefix + "input_layernorm.weight"], eps), prefix + "self_attn.")
            y = rms_norm(x, w[prefix + "post_attention_layernorm.weight"], eps)
            gate, up = (y @ w[f"{prefix}mlp.{name}.weight"].T for name in ("gate_proj", "up_proj"))
            x = x + gate / (1 + np.exp(-gate)) * up @ w[prefix + "mlp.down_proj.weight"].T
        return rms_norm(x, w["model.norm.weight"], eps) @ w["lm_head.weight"].T


def expectations(model, prompts, steps=16):
    """What tests/golden/run.py reads: logits of some rows, the greedy continuation, its smallest lead."""
    arrays, margin = {}, np.inf
    for index, prompt in enumerate(prompts):
        ids = list(prompt)
        logits = model.logits(ids)
        scale = np.abs(logits).max()
        rows = np.arange(len(ids)) if len(ids) <= 20 else np.unique(np.r_[0:len(ids):5, len(ids) - 4:len(ids)])
        greedy = []
        for _ in range(steps):
            last = model.logits(ids + greedy)[-1]
            best, next_best = np.sort(last)[[-1, -2]]
            margin = min(margin, (best - next_best) / scale)
            greedy.append(int(last.argmax()))
        arrays |= {f"p{index}.ids": np.array(prompt), f"p{index}.rows": rows, f"p{index}.scale": scale,
                   f"p{index}.logits": logits[rows].astype(np.float32), f"p{index}.greedy": np.array(greedy)}
    return {"margin": np.float64(margin), **arrays}
