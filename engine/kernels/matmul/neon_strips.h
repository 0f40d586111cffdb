// Packed activations of the NEON levels. All products with float activations share one layout, all
// products of one level with groups of one size another, so that x is packed once for q, k and v.
//
// A strip holds kStripRows activation rows, the last one what is left; R is the number of its rows,
// rounded up to even where the level multiplies pairs of rows (I8MM, BF16).
#pragma once

#include <arm_neon.h>

#include <cstring>

#include "engine/kernels/matmul/matmul.h"
#include "engine/kernels/matmul/neon_vector.h"

namespace inhouse::engine::neon {
namespace {

// kF32: float x[k][R], k rounded up to a multiple of 128 with zeros: ragged rows end inside a
// block.
inline int64_t FloatStripBytes(int64_t k) { return RoundUp(k, 128) * kStripRows * 4; }

inline void PackFloatStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/,
                           int64_t k, std::byte* packed_x) {
  auto* strip = reinterpret_cast<float*>(packed_x + m0 / kStripRows * FloatStripBytes(k));
  const int64_t rows = m1 - m0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + (m0 + r) * ldx;
    for (int64_t i = 0; i < k; ++i) strip[i * rows + r] = from[i];
    for (int64_t i = k; i < RoundUp(k, 128); ++i) strip[i * rows + r] = 0.0F;
  }
}

// Codes of one group of one row; what lies beyond the row's end is zero.
template <int kColumns>
struct Quantized {
  alignas(16) int16_t codes[Size(kColumns)];
  float scale;
  float scaled_sum;
};

// A group with an infinity or a NaN gets the scale NaN, so that it spoils its products as in float.
template <int kColumns>
inline void Quantize(const float* x, float code_max, Quantized<kColumns>& q) {
  float32x4_t max = vdupq_n_f32(0);
  float32x4_t poison = vdupq_n_f32(0);  // x * 0 is NaN if x is not finite
  for (int i = 0; i < kColumns; i += 4) {
    const float32x4_t v = vld1q_f32(x + i);
    max = vmaxnmq_f32(max, vabsq_f32(v));
    poison = vfmaq_f32(poison, v, vdupq_n_f32(0));
  }
  const float amax = vmaxnmvq_f32(max);
  const bool finite = vminvq_u32(vceqq_f32(poison, poison)) != 0;
  // Below 1e-30 the reciprocal nears infinity; such a group is zero beside anything else.
  const bool zero = !(amax > 1e-30F) || !finite;
  q.scale = !finite ? __builtin_nanf("") : zero ? 0.0F : amax / code_max;
  const float inverse = zero ? 0.0F : code_max / amax;
  int32x4_t sum = vdupq_n_s32(0);
  for (int i = 0; i < kColumns; i += 4) {
    const float32x4_t v = finite ? vld1q_f32(x + i) : vdupq_n_f32(0);
    const int32x4_t code = vcvtnq_s32_f32(vmulq_n_f32(v, inverse));
    sum = vaddq_s32(sum, code);
    vst1_s16(q.codes + i, vmovn_s32(code));
  }
  q.scaled_sum = q.scale * static_cast<float>(vaddvq_s32(sum));
}

// kI16Groups32/128 and kI8Groups32/128: groups of kColumns columns, each with x ~ scale * code. A
// 16-bit code is kept as two int8 planes, code = 256 * high + low (-32512..32512, so that the high
// one fits); an 8-bit code has one. The codes of one row and one plane of kWordBytes successive
// columns are a word: [columns / kWordBytes][planes][R] words, as the level's dot product takes
// them (SDOT 4 columns of a row, SMMLA 8 of a pair of rows). Then float scale [R] and, for weights
// with a minimum, float scale * (sum of codes) [R].
template <int kColumns, int kPlanes, int kWordBytes>
struct GroupStrip {
  static constexpr int kRowUnit = kWordBytes / 4;                     // R is a multiple of it
  static constexpr int64_t kCodeBytes = int64_t{kColumns} * kPlanes;  // of one row
  static constexpr int64_t kScaleAt = kCodeBytes;
  static constexpr int64_t kScaledSumAt = kCodeBytes + 4;
  static constexpr int64_t kRowBytes = kCodeBytes + 8;
  static constexpr ActivationLayout kLayout =
      kPlanes == 2
          ? (kColumns == 32 ? ActivationLayout::kI16Groups32 : ActivationLayout::kI16Groups128)
          : (kColumns == 32 ? ActivationLayout::kI8Groups32 : ActivationLayout::kI8Groups128);

  static int64_t Bytes(int64_t k) {
    return RoundUp(DivideUp(k, kColumns) * kRowBytes * kStripRows, 64);
  }

  static void Pack(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                   std::byte* packed_x) {
    std::byte* strip = packed_x + m0 / kStripRows * Bytes(k);
    const int64_t rows = RoundUp(m1 - m0, kRowUnit);
    for (int64_t begin = 0; begin < k; begin += kColumns) {
      std::byte* group = strip + begin / kColumns * kRowBytes * rows;
      const int64_t n = k - begin < kColumns ? k - begin : kColumns;
      for (int64_t r = 0; r < rows; ++r) {
        float columns[Size(kColumns)] = {};
        if (m0 + r < m1) {
          std::memcpy(columns, x + (m0 + r) * ldx + begin, static_cast<size_t>(n) * sizeof(float));
        }
        Quantized<kColumns> q;
        Quantize<kColumns>(columns, kPlanes == 2 ? 32512.0F : 127.0F, q);
        StoreGroup(q, r, rows, group);
      }
    }
  }

 private:
  static void StoreGroup(const Quantized<kColumns>& q, int64_t row, int64_t rows,
                         std::byte* group) {
    for (int word = 0; word < kColumns / kWordBytes; ++word) {
      int8_t planes[Size(kPlanes)][Size(kWordBytes)];
      for (int i = 0; i < kWordBytes; ++i) {
        const int code = q.codes[word * kWordBytes + i];
        const int high = kPlanes == 2 ? (code + 128) >> 8 : 0;
        planes[0][i] = static_cast<int8_t>(kPlanes == 2 ? high : code);
        if constexpr (kPlanes == 2) planes[1][i] = static_cast<int8_t>(code - 256 * high);
      }
      for (int p = 0; p < kPlanes; ++p) {
        std::memcpy(group + ((word * kPlanes + p) * rows + row) * kWordBytes, planes[p],
                    Size(kWordBytes));
      }
    }
    std::memcpy(group + kScaleAt * rows + 4 * row, &q.scale, 4);
    std::memcpy(group + kScaledSumAt * rows + 4 * row, &q.scaled_sum, 4);
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
