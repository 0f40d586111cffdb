"""How published checkpoints pack quantized matrices, in NumPy: each packer turns float64 [out, in] into
(suffix -> tensor, exact float64 values of what was stored). Sources: docs/file-formats.md.

Values are rounded to the nearest code of a scale that covers the largest one; a fixture needs no better."""

import re

import numpy as np

from safetensors_file import Raw, bf16, e4m3_values, raw


def groups_of(values, size):
    """[out, groups, size]"""
    return values.reshape(values.shape[0], -1, size)


def f16(values):
    stored = np.asarray(values, np.float16)
    return raw("F16", stored), stored.astype(np.float64)


def pack_words(codes, bits):
    """Codes along the last axis, lowest bits first, in 32-bit words that they may cross."""
    bit = (np.asarray(codes, np.uint32)[..., None] >> np.arange(bits, dtype=np.uint32) & 1).astype(np.uint8)
    flat = bit.reshape(*codes.shape[:-1], -1)
    flat = np.pad(flat, [(0, 0)] * (flat.ndim - 1) + [(0, -flat.shape[-1] % 32)])
    return np.packbits(flat, axis=-1, bitorder="little").view("<u4").astype(np.int32)


def integers(values, bits, size, symmetric, store):
    """(codes, zero points, stored scales, their values) of groups of `size` columns; value = (code - zero) * scale."""
    grouped, top = groups_of(values, size), 2**bits - 1
    if symmetric:
        scale_tensor, scale = store(np.abs(grouped).max(-1) / (2 ** (bits - 1) - 0.5))
        zero = np.full(scale.shape, 2 ** (bits - 1))
    else:
        low, high = np.minimum(grouped.min(-1), 0), np.maximum(grouped.max(-1), 0)
        scale_tensor, scale = store((high - low) / top)
        zero = np.clip(np.rint(-low / scale), 0, top).astype(int)
    codes = np.clip(np.rint(grouped / scale[..., None]) + zero[..., None], 0, top).astype(int)
    return codes.reshape(values.shape), zero, scale_tensor, scale


def dequantize(codes, zero, scale, group):
    """`group` is the group of each column."""
    return (codes - zero[:, group]) * scale[:, group]


def columns_to_groups(columns, size):
    return np.arange(columns) // size


# compressed-tensors

def pack_quantized(bits, size, symmetric, act_order=False):
    def pack(values):
        rows, columns = values.shape
        order = np.random.default_rng(columns).permutation(columns) if act_order else np.arange(columns)
        codes, zero, scale_tensor, scale = integers(values[:, order], bits, size, symmetric, bf16)
        group = np.empty(columns, np.int32)
        group[order] = columns_to_groups(columns, size)
        unordered = np.empty_like(codes)
        unordered[:, order] = codes
        tensors = {"weight_packed": raw("I32", pack_words(unordered, bits)), "weight_scale": scale_tensor,
                   "weight_shape": raw("I64", np.array([rows, columns]))}
        if not symmetric:
            tensors["weight_zero_point"] = raw("I32", pack_words(zero.T, bits).T)
        if act_order:
            tensors["weight_g_idx"] = raw("I32", group)
        return tensors, dequantize(unordered, zero, scale, group)
    return pack


def int_quantized(symmetric):
    def pack(values):
        codes, zero, scale_tensor, scale = integers(values, 8, values.shape[1], symmetric, bf16)
        tensors = {"weight": raw("I8", (codes - 128).astype(np.int8)), "weight_scale": scale_tensor}
        if not symmetric:
            tensors["weight_zero_point"] = raw("I8", (zero - 128).astype(np.int8))
        return tensors, dequantize(codes, zero, scale, np.zeros(values.shape[1], int))
    return pack


def nearest(table, values):
    """Indices into a table of values, NaN never."""
    order = np.argsort(np.where(np.isnan(table), np.inf, table), kind="stable")
    known = table[order][: int((~np.isnan(table)).sum())]
    at = np.clip(np.searchsorted(known, values), 1, len(known) - 1)
    at -= values - known[at - 1] < known[at] - values
    return order[at]


def float_quantized(values):
    scale_tensor, scale = bf16(np.abs(values).max(1, keepdims=True) / 448)
    codes = nearest(e4m3_values(), values / scale)
    return {"weight": raw("F8_E4M3", codes.astype(np.uint8)), "weight_scale": scale_tensor}, e4m3_values()[codes] * scale


E2M1 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6])


def mxfp4(values):
    grouped = groups_of(values, 32)
    exponent = np.ceil(np.log2(np.abs(grouped).max(-1) / 6)).astype(int)
    codes = nearest(E2M1, grouped / 2.0 ** exponent[..., None]).reshape(values.shape)
    packed = (codes[:, 0::2] | codes[:, 1::2] << 4).astype(np.uint8)
    tensors = {"weight_packed": raw("U8", packed), "weight_scale": raw("U8", (exponent + 127).astype(np.uint8))}
    return tensors, E2M1[codes] * np.repeat(2.0**exponent, 32, axis=1)


# AutoAWQ: words of eight outputs, in this order.
AWQ_ORDER = np.array([0, 2, 4, 6, 1, 3, 5, 7])


def awq(size):
    def awq_words(codes):  # [n, outputs]
        reordered = codes.reshape(len(codes), -1, 8)[..., AWQ_ORDER].reshape(codes.shape)
        return raw("I32", pack_words(reordered, 4))

    def pack(values):
        codes, zero, _, scale = integers(values, 4, size, False, f16)
        tensors = {"qweight": awq_words(codes.T), "qzeros": awq_words(zero.T), "scales": f16(scale.T)[0]}
        return tensors, dequantize(codes, zero, scale, columns_to_groups(values.shape[1], size))
    return pack


def gptq(bits, size, symmetric, less_one, act_order):
    def pack(values):
        columns = values.shape[1]
        order = np.random.default_rng(columns).permutation(columns) if act_order else np.arange(columns)
        codes, zero, _, scale = integers(values[:, order], bits, size, symmetric, f16)
        group = np.empty(columns, np.int32)
        group[order] = columns_to_groups(columns, size)
        unordered = np.empty_like(codes)
        unordered[:, order] = codes
        stored = zero - less_one & 2**bits - 1
        tensors = {"qweight": raw("I32", pack_words(unordered, bits).T), "qzeros": raw("I32", pack_words(stored.T, bits)),
                   "scales": f16(scale.T)[0], "g_idx": raw("I32", group)}
        return tensors, dequantize(unordered, zero, scale, group)
    return pack


def fp8_block(scale_type):
    """DeepSeek: blocks of 128 x 128, `weight_scale_inv` in F32; V4: `scale` in E8M0, here of 32 x 32."""
    def pack(values):
        size = 128 if scale_type == "F32" else 32
        rows, columns = values.shape
        padded = np.pad(values, [(0, -rows % size), (0, -columns % size)])
        blocks = padded.reshape(padded.shape[0] // size, size, padded.shape[1] // size, size)
        scale = np.abs(blocks).max((1, 3)) / 448
        if scale_type == "F32":
            name, stored = "weight_scale_inv", raw("F32", scale.astype(np.float32))
            scale = scale.astype(np.float32).astype(np.float64)
        else:
            exponent = np.ceil(np.log2(scale)).astype(int)
            name, stored = "scale", Raw("F8_E8M0", exponent.shape, (exponent + 127).astype(np.uint8).tobytes())
            scale = 2.0**exponent
        scales = np.kron(scale, np.ones((size, size)))[:rows, :columns]
        codes = nearest(e4m3_values(), values / scales)
        return {"weight": raw("F8_E4M3", codes.astype(np.uint8)), name: stored}, e4m3_values()[codes] * scales
    return pack


class Scheme:
    """`packers`: (expression for a module, packer), the first that matches counts; lm_head and the embedding stay."""

    def __init__(self, weights, config, packers):
        self.weights, self.config, self.packers = weights, config, packers

    def packer(self, module):
        if not module.endswith("_proj"):
            return None
        return next(pack for expression, pack in self.packers if re.match(expression, module))


def compressed(form, groups):
    """groups: (targets, weights of the group[, format])"""
    config_groups = {}
    for index, (targets, weights, *own) in enumerate(groups):
        config_groups[f"group_{index}"] = {"targets": targets, "input_activations": None, "output_activations": None,
                                           "weights": {"dynamic": False, **weights}, **({"format": own[0]} if own else {})}
    return {"quant_method": "compressed-tensors", "quantization_status": "compressed", "format": form,
            "config_groups": config_groups, "ignore": ["lm_head"], "kv_cache_scheme": None}


def int_weights(bits, size=None, symmetric=True):
    return {"num_bits": bits, "type": "int", "symmetric": symmetric, "strategy": "group" if size else "channel", "group_size": size}


EVERY = r".*"
SCHEMES = {
    "llama-fp8-e8m0": Scheme(
        "fp8", {"quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "weight_block_size": [128, 128]},
        [(EVERY, fp8_block("E8M0"))]),
    "llama-ct-mixed": Scheme(
        "int8", compressed("mixed-precision", [
            (["re:.*self_attn.*"], {"num_bits": 8, "type": "float", "symmetric": True, "strategy": "channel"}, "float-quantized"),
            (["re:.*mlp\\.(gate|up)_proj"], int_weights(8), "int-quantized"),
            (["Linear"], {"num_bits": 4, "type": "float", "symmetric": True, "strategy": "group", "group_size": 32},
             "mxfp4-pack-quantized")]),
        [(r".*self_attn", float_quantized), (r".*(gate|up)_proj", int_quantized(True)), (EVERY, mxfp4)]),
    "llama-ct-w4": Scheme("int4", compressed("pack-quantized", [(["Linear"], int_weights(4, 128))]),
                          [(EVERY, pack_quantized(4, 128, True))]),
    "llama-ct-w4-asym": Scheme(
        "int4", compressed("pack-quantized", [(["Linear"], int_weights(4, 32, False))]),
        [(r".*k_proj", pack_quantized(4, 32, False, act_order=True)), (EVERY, pack_quantized(4, 32, False))]),
    "llama-ct-w8": Scheme(
        "int8", compressed("mixed-precision", [
            (["re:.*down_proj"], int_weights(8, None, False), "int-quantized"),
            (["Linear"], int_weights(8, 128), "pack-quantized")]),
        [(r".*down_proj", int_quantized(False)), (EVERY, pack_quantized(8, 128, True))]),
    "llama-awq": Scheme(
        "int4", {"quant_method": "awq", "bits": 4, "group_size": 64, "zero_point": True, "version": "gemm",
                 "modules_to_not_convert": None}, [(EVERY, awq(64))]),
    "llama-gptq": Scheme(
        "int4", {"quant_method": "gptq", "bits": 4, "group_size": 128, "desc_act": False, "sym": True},
        [(EVERY, gptq(4, 128, True, 1, False))]),
    "llama-gptq-v2": Scheme(
        "int8", {"quant_method": "gptq", "bits": 8, "group_size": 32, "desc_act": True, "sym": False,
                 "checkpoint_format": "gptq_v2"},
        [(r".*o_proj", gptq(8, 32, True, 0, False)), (EVERY, gptq(8, 32, False, 0, True))]),
}
