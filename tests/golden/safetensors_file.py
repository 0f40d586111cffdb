"""Safetensors with the types that NumPy lacks: reading into float64, writing of raw bytes."""

import json
import struct

import numpy as np


class Raw:
    """A tensor as it is written: a safetensors type, a shape, little-endian bytes."""

    def __init__(self, dtype, shape, data):
        self.dtype, self.shape, self.data = dtype, list(shape), bytes(data)


def raw(dtype, array):
    return Raw(dtype, array.shape, np.ascontiguousarray(array).tobytes())


def e4m3_values():
    """The 256 values of F8_E4M3 (OCP OFP8 1.0)."""
    codes = np.arange(256)
    exponent, mantissa = codes >> 3 & 15, codes & 7
    values = np.where(exponent == 0, mantissa / 8 * 2.0**-6, (1 + mantissa / 8) * 2.0**(exponent - 7))
    values[(codes & 127) == 127] = np.nan
    return np.where(codes >= 128, -values, values)


def bf16(values):
    """(tensor, its exact values): rounded to nearest even."""
    bits = np.ascontiguousarray(values, np.float32).view(np.uint32)
    bits = (bits + 0x7FFF + (bits >> 16 & 1)) >> 16
    return raw("BF16", bits.astype(np.uint16)), (bits << 16).astype(np.uint32).view(np.float32).astype(np.float64)


def write_safetensors(path, tensors):
    header, data = {}, b""
    for name in sorted(tensors):
        tensor = tensors[name]
        header[name] = {"dtype": tensor.dtype, "shape": tensor.shape, "data_offsets": [len(data), len(data) + len(tensor.data)]}
        data += tensor.data
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def read_safetensors(path):
    """Name -> float64; the FP8 weights of DeepSeek are multiplied by their scales."""
    with open(path, "rb") as file:
        content = file.read()
    size = struct.unpack("<Q", content[:8])[0]
    out = {}
    for name, entry in json.loads(content[8:8 + size]).items():
        if name == "__metadata__":
            continue
        begin, end = (8 + size + offset for offset in entry["data_offsets"])
        data = content[begin:end]
        if entry["dtype"] == "BF16":
            values = (np.frombuffer(data, np.uint16).astype(np.uint32) << 16).view(np.float32)
        elif entry["dtype"] == "F8_E4M3":
            values = e4m3_values()[np.frombuffer(data, np.uint8)]
        else:
            values = np.frombuffer(data, {"F32": np.float32, "F16": np.float16}[entry["dtype"]])
        out[name] = values.reshape(entry["shape"]).astype(np.float64)
    for name in [name for name in out if name.endswith("_scale_inv")]:
        weight = name.removesuffix("_scale_inv")
        rows, columns = out[weight].shape
        out[weight] *= np.kron(out.pop(name), np.ones((128, 128)))[:rows, :columns]
    return out
