"""Makes a longer saved state of one llama.cpp sequence out of a short one, by repeating its cells.

Filling a cache of 16k tokens by computing them takes minutes; how fast attention reads it does not depend
on the numbers. The format is that of llama_kv_cache::state_write (llama.cpp, src/llama-kv-cache.cpp):

    u32 streams, then for each: u32 cells; for each cell i32 position, u32 n and n x i32 sequence ids;
    u32 V is transposed, u32 layers; for each layer K: i32 type, u64 bytes of a cell's row, the rows;
    for each layer V the same, or transposed: i32 type, u32 bytes of an element, u32 elements, and for each
    element the values of all cells.
"""

import struct

HEADER_WORDS_MAX = 8  # what a release may put before the streams


class Reader:
    def __init__(self, data, at):
        self.data, self.at = data, at

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def bytes(self, n):
        self.at += n
        return self.data[self.at - n:self.at]


def begin_of(data, cells):
    """Where the streams begin: `1 stream, cells, position 0, 1 sequence` or the same without sequences."""
    for at in range(0, 4 * HEADER_WORDS_MAX, 4):
        if struct.unpack_from("<IIi", data, at) == (1, cells, 0):
            return at
    raise SystemExit("llama.cpp's saved state has changed: no cells found")


def stretch(rows, size, depth):
    """`rows` of `size` bytes each, repeated to `depth` rows."""
    n = len(rows) // size
    whole, rest = divmod(depth, n)
    return bytes(rows) * whole + bytes(rows[:rest * size])


def repeat(data, cells, depth):
    start = begin_of(data, cells)
    r = Reader(data, start + 8)
    n_ids = 0
    for _ in range(cells):
        _, n_ids = r.take("iI")
        r.bytes(4 * n_ids)
    out = bytearray(data[:start]) + struct.pack("<II", 1, depth)
    for position in range(depth):
        out += struct.pack(f"<iI{n_ids}i", position, n_ids, *[0] * n_ids)
    transposed, layers = r.take("II")
    out += struct.pack("<II", transposed, layers)
    for is_value in (False, True):
        for _ in range(layers):
            if is_value and transposed:
                kind, size, elements = r.take("iII")
                out += struct.pack("<iII", kind, size, elements)
                for _ in range(elements):
                    out += stretch(r.bytes(size * cells), size, depth)
            else:
                kind, size = r.take("iQ")
                out += struct.pack("<iQ", kind, size)
                out += stretch(r.bytes(size * cells), size, depth)
    out += data[r.at:]
    return out
