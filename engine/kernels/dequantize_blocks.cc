#include "engine/kernels/dequantize_blocks.h"

#include <bit>
#include <cstring>

#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

uint32_t Byte(const std::byte* p) { return std::to_integer<uint32_t>(*p); }

float F16At(const std::byte* p) {
  uint16_t bits = 0;
  std::memcpy(&bits, p, sizeof(bits));
  return FromF16(bits);
}

// Element j of a block of 32 nibbles: the low halves of 16 bytes, then the high halves.
uint32_t Nibble(const std::byte* qs, int j) {
  return j < 16 ? Byte(qs + j) & 15U : Byte(qs + j - 16) >> 4;
}

// The fifth bits of 32 elements, as one little-endian word.
uint32_t BitAt(const std::byte* qh, int j) { return Byte(qh + j / 8) >> (j % 8) & 1U; }

float Signed(uint32_t code, int offset) {
  return static_cast<float>(static_cast<int>(code) - offset);
}

// The 6-bit scale and minimum of sub-block i = 0..7 of Q4_K and Q5_K, from 12 packed bytes.
struct ScaleMin {
  float scale, min;
};
ScaleMin UnpackScaleMin(const std::byte* sc, int i) {
  if (i < 4) {
    return {Signed(Byte(sc + i) & 63U, 0), Signed(Byte(sc + i + 4) & 63U, 0)};
  }
  return {Signed((Byte(sc + i + 4) & 15U) | (Byte(sc + i - 4) >> 6 << 4), 0),
          Signed(Byte(sc + i + 4) >> 4 | (Byte(sc + i) >> 6 << 4), 0)};
}

// The 6-bit scale of sub-block i = 0..15 of Q3_K, minus 32: low nibbles in bytes 0..7 (0..7
// low, 8..15 high), the upper two bits in bytes 8..11.
float UnpackQ3Scale(const std::byte* sc, int i) {
  const uint32_t low = i < 8 ? Byte(sc + i) & 15U : Byte(sc + i - 8) >> 4;
  const uint32_t high = Byte(sc + 8 + i % 4) >> (2 * (i / 4)) & 3U;
  return Signed(low | high << 4, 32);
}

}  // namespace

void DequantizeQ8_0(const std::byte* block, float* out) {
  const float d = F16At(block);
  for (int j = 0; j < 32; ++j) {
    out[j] = d * static_cast<float>(static_cast<int8_t>(Byte(block + 2 + j)));
  }
}

void DequantizeQ4_0(const std::byte* block, float* out) {
  const float d = F16At(block);
  for (int j = 0; j < 32; ++j) out[j] = d * Signed(Nibble(block + 2, j), 8);
}

void DequantizeQ4_1(const std::byte* block, float* out) {
  const float d = F16At(block);
  const float m = F16At(block + 2);
  for (int j = 0; j < 32; ++j) out[j] = d * Signed(Nibble(block + 4, j), 0) + m;
}

void DequantizeQ5_0(const std::byte* block, float* out) {
  const float d = F16At(block);
  for (int j = 0; j < 32; ++j) {
    out[j] = d * Signed(Nibble(block + 6, j) | BitAt(block + 2, j) << 4, 16);
  }
}

void DequantizeQ5_1(const std::byte* block, float* out) {
  const float d = F16At(block);
  const float m = F16At(block + 2);
  for (int j = 0; j < 32; ++j) {
    out[j] = d * Signed(Nibble(block + 8, j) | BitAt(block + 4, j) << 4, 0) + m;
  }
}

// scales[16] (scale | min << 4), qs[64], d, dmin. Element 128h + 32s + l is bits 2s of qs[32h + l].
void DequantizeQ2_K(const std::byte* block, float* out) {
  const float d = F16At(block + 80);
  const float dmin = F16At(block + 82);
  for (int j = 0; j < 256; ++j) {
    const uint32_t scale = Byte(block + j / 16);
    const uint32_t q = Byte(block + 16 + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2) & 3U;
    const float dl = d * static_cast<float>(scale & 15U);
    const float ml = dmin * static_cast<float>(scale >> 4);
    out[j] = dl * static_cast<float>(q) - ml;
  }
}

// hmask[32], qs[64] (as Q2_K), scales[12], d. A clear bit j/32 of hmask[j % 32] subtracts 4.
void DequantizeQ3_K(const std::byte* block, float* out) {
  const float d = F16At(block + 108);
  for (int j = 0; j < 256; ++j) {
    const uint32_t low = Byte(block + 32 + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2) & 3U;
    const uint32_t high = Byte(block + j % 32) >> (j / 32) & 1U;
    out[j] = d * UnpackQ3Scale(block + 96, j / 16) * Signed(low | high << 2, 4);
  }
}

// d, dmin, scales[12], qs[128]. Sub-blocks 2b and 2b + 1 are the low and high nibbles of qs[32b..].
void DequantizeQ4_K(const std::byte* block, float* out) {
  const float d = F16At(block);
  const float dmin = F16At(block + 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = UnpackScaleMin(block + 4, i);
    const float dl = d * s.scale;
    const float ml = dmin * s.min;
    for (int l = 0; l < 32; ++l) {
      const uint32_t q = Byte(block + 16 + i / 2 * 32 + l) >> (i % 2 * 4) & 15U;
      out[32 * i + l] = dl * static_cast<float>(q) - ml;
    }
  }
}

// As Q4_K with qh[32] before qs: bit i of qh[l] is the fifth bit of element 32i + l.
void DequantizeQ5_K(const std::byte* block, float* out) {
  const float d = F16At(block);
  const float dmin = F16At(block + 2);
  for (int i = 0; i < 8; ++i) {
    const ScaleMin s = UnpackScaleMin(block + 4, i);
    const float dl = d * s.scale;
    const float ml = dmin * s.min;
    for (int l = 0; l < 32; ++l) {
      const uint32_t low = Byte(block + 48 + i / 2 * 32 + l) >> (i % 2 * 4) & 15U;
      const uint32_t high = Byte(block + 16 + l) >> i & 1U;
      out[32 * i + l] = dl * static_cast<float>(low | high << 4) - ml;
    }
  }
}

// ql[128], qh[64], int8 scales[16], d. Per half of 128: nibble 64l.. of ql, two bits of qh.
void DequantizeQ6_K(const std::byte* block, float* out) {
  const float d = F16At(block + 208);
  for (int j = 0; j < 256; ++j) {
    const int half = j / 128;
    const int quarter = j / 32 % 4;
    const int l = j % 32;
    const uint32_t low = Byte(block + half * 64 + quarter % 2 * 32 + l) >> (quarter / 2 * 4) & 15U;
    const uint32_t high = Byte(block + 128 + half * 32 + l) >> (2 * quarter) & 3U;
    const float scale = static_cast<float>(static_cast<int8_t>(Byte(block + 192 + j / 16)));
    out[j] = d * scale * Signed(low | high << 4, 32);
  }
}

// One E8M0 byte, then 32 E2M1 nibbles. The values are doubled and the exponent's bias is 128, so
// that they are integers.
void DequantizeMXFP4(const std::byte* block, float* out) {
  static constexpr float kDoubled[16] = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
  const uint32_t e = Byte(block);
  const float scale = std::bit_cast<float>(e < 2 ? 0x00200000U << e : (e - 1) << 23);
  for (int j = 0; j < 32; ++j) out[j] = scale * kDoubled[Nibble(block + 1, j)];
}

}  // namespace inhouse::engine
