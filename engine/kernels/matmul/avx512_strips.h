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

}  // namespace
}  // namespace inhouse::engine
