// Packing activations for the AVX-512 products: [substep][rows of the strip] words, so that one
// strip is read front to back whatever its number of rows is.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

// Words as they are: one float a word.
inline void PackStripF32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
                         int64_t substeps, uint32_t* strip) {
  const int64_t rows = m1 - m0;
  for (int64_t m = 0; m < rows; ++m) {
    const auto* row = reinterpret_cast<const uint32_t*>(x + (m0 + m) * ldx);
    for (int64_t i = 0; i < k; ++i) strip[i * rows + m] = row[i];
    for (int64_t i = k; i < substeps; ++i) strip[i * rows + m] = 0;
  }
}

// To the nearest BF16, ties to even; a NaN keeps its upper bits and becomes quiet.
INHOUSE_INLINE __m512i RoundToBF16(__m512 value) {
  const __m512i bits = _mm512_castps_si512(value);
  const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
  const __m512i rounded = _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
  const __mmask16 nan = _mm512_cmp_ps_mask(value, value, _CMP_UNORD_Q);
  const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x00400000));
  return _mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16);
}

// 32 floats -> 16 words of two BF16, the even column in the low half.
INHOUSE_INLINE __m512i PairsBF16(__m512 a, __m512 b) {
  const __m512i even = _mm512_setr_epi32(0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30);
  const __m512i odd = _mm512_add_epi32(even, _mm512_set1_epi32(1));
  const __m512i lo = RoundToBF16(a);
  const __m512i hi = RoundToBF16(b);
  return _mm512_or_si512(_mm512_permutex2var_epi32(lo, even, hi),
                         _mm512_slli_epi32(_mm512_permutex2var_epi32(lo, odd, hi), 16));
}

inline void PackStripBF16(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
                          int64_t substeps, uint32_t* strip) {
  const int64_t rows = m1 - m0;
  for (int64_t m = 0; m < rows; ++m) {
    const float* row = x + (m0 + m) * ldx;
    for (int64_t i = 0; i < substeps; i += 16) {
      const int64_t left = k - 2 * i;
      const uint32_t valid = left >= 32 ? 0xFFFFFFFFU : left <= 0 ? 0U : (1U << left) - 1U;
      const __m512 a = _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid & 0xFFFFU), row + 2 * i);
      const __m512 b = _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid >> 16), row + 2 * i + 16);
      alignas(64) uint32_t words[16];
      _mm512_store_si512(words, PairsBF16(a, b));
      const int64_t count = substeps - i < 16 ? substeps - i : 16;
      for (int64_t j = 0; j < count; ++j) strip[(i + j) * rows + m] = words[j];
    }
  }
}

// Groups of 32 columns: x ~ scale * code with a 16-bit code, kept as two planes of int8 so that
// VPDPBUSD takes them: code = 256 * high + low. 8 bits a group of 32 are not enough: the rounding
// of the activations alone moves the logits of a small model by up to 5e-2.
//
// scale = max|x| / 32512 (= 127 * 256). A group with an Inf or a NaN gets the scale NaN, so that
// the outputs of that row are NaN and nothing else is.
constexpr int kGroup = 32;
constexpr int kWordLow = 8;      // words 0..7: four high bytes each; 8..15: four low bytes each
constexpr int kWordScale = 16;   // float
constexpr int kWordOffset = 17;  // int32: -128 * (sum of the 32 codes), for weights stored + 128
constexpr int kWordHalf = 18;    // int32: the same for the first 16 codes
constexpr int kWordSum = 19;     // float: scale * (sum of the codes), for formats with a minimum
constexpr int kGroupWords = 20;  // a row's share of a group
constexpr float kCodeMax = 32512.0F;

struct QuantizedGroup {
  alignas(64) uint32_t words[kGroupWords];
};

INHOUSE_INLINE float Max32(__m512 a, __m512 b) {
  // As integers the magnitudes order finite < Inf < NaN.
  const __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
  const uint32_t bits =
      _mm512_reduce_max_epu32(_mm512_max_epu32(_mm512_and_si512(_mm512_castps_si512(a), mask),
                                               _mm512_and_si512(_mm512_castps_si512(b), mask)));
  float max = 0;
  __builtin_memcpy(&max, &bits, sizeof(max));
  return max;
}

INHOUSE_INLINE void QuantizeGroup(const float* x, QuantizedGroup& out) {
  __m512 a = _mm512_loadu_ps(x);
  __m512 b = _mm512_loadu_ps(x + 16);
  const float max = Max32(a, b);
  float scale = max / kCodeMax;
  float inverse = 0;
  if (!(max <= 0x1.fffffep127F)) {
    a = b = _mm512_setzero_ps();
    scale = __builtin_nanf("");
  } else if (max >= 0x1p-100F) {
    inverse = kCodeMax / max;
  } else if (max > 0) {  // the quotient could overflow: scale by a power of two first, exactly
    a = _mm512_mul_ps(a, _mm512_set1_ps(0x1p100F));
    b = _mm512_mul_ps(b, _mm512_set1_ps(0x1p100F));
    inverse = kCodeMax / (max * 0x1p100F);
  }
  const __m512 factor = _mm512_set1_ps(inverse);
  const __m512i ca = _mm512_cvtps_epi32(_mm512_mul_ps(a, factor));
  const __m512i cb = _mm512_cvtps_epi32(_mm512_mul_ps(b, factor));
  const int first = _mm512_reduce_add_epi32(ca);
  const int sum = first + _mm512_reduce_add_epi32(cb);
  // low = the code's lower byte as int8; high = (code - low) / 256, that is (code + 128) >> 8.
  const __m512i half = _mm512_set1_epi32(128);
  const auto put = [&out](int word, __m128i bytes) INHOUSE_INLINE_LAMBDA {
    _mm_store_si128(reinterpret_cast<__m128i*>(out.words + word), bytes);
  };
  put(0, _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(ca, half), 8)));
  put(4, _mm512_cvtepi32_epi8(_mm512_srai_epi32(_mm512_add_epi32(cb, half), 8)));
  put(kWordLow, _mm512_cvtepi32_epi8(ca));
  put(kWordLow + 4, _mm512_cvtepi32_epi8(cb));
  const float scaled_sum = scale * static_cast<float>(sum);
  __builtin_memcpy(&out.words[kWordScale], &scale, 4);
  out.words[kWordOffset] = static_cast<uint32_t>(-128 * sum);
  out.words[kWordHalf] = static_cast<uint32_t>(-128 * first);
  __builtin_memcpy(&out.words[kWordSum], &scaled_sum, 4);
}

inline void PackStripI16(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
                         uint32_t* strip) {
  const int64_t rows = m1 - m0;
  for (int64_t g = 0; g < k / kGroup; ++g) {
    uint32_t* out = strip + g * kGroupWords * rows;
    for (int64_t m = 0; m < rows; ++m) {
      QuantizedGroup q;
      QuantizeGroup(x + (m0 + m) * ldx + g * kGroup, q);
      for (int64_t i = 0; i < kGroupWords; ++i) out[i * rows + m] = q.words[i];
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
