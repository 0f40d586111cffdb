// Packing activations for the AVX-512 products: [substep][rows of the strip] words, so that one
// strip is read front to back whatever its number of rows is.
//
// Words are made row by row, kStagedWords at a time for kTogether rows, and transposed from there:
// a row is read in long runs and the strip is written four words at a time.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

constexpr int kTogether = 4;
constexpr int kStagedWords = 320;  // 512 columns in two planes with groups of 32: the longest run

// Words of up to kTogether rows.
struct StagedWords {
  alignas(64) uint32_t of[static_cast<size_t>(kTogether)][static_cast<size_t>(kStagedWords)];
};

// out[i * strip + r] = staged.of[r][i] for words 16 b to 16 b + 15 that exist, r < n.
template <bool kAllWords>
INHOUSE_INLINE void PutBlock(const StagedWords& staged, int64_t n, int64_t block, int64_t words,
                             uint32_t* out, int64_t strip) {
  __m512i v[4];
  Unroll<4>([&](auto r) INHOUSE_INLINE_LAMBDA {
    v[r] = r < n ? _mm512_load_si512(staged.of[r] + 16 * block) : _mm512_setzero_si512();
  });
  const __m512i low[2] = {_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpacklo_epi32(v[2], v[3])};
  const __m512i high[2] = {_mm512_unpackhi_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[2], v[3])};
  const __m512i word[4] = {
      _mm512_unpacklo_epi64(low[0], low[1]), _mm512_unpackhi_epi64(low[0], low[1]),
      _mm512_unpacklo_epi64(high[0], high[1]), _mm512_unpackhi_epi64(high[0], high[1])};
  const auto rows = static_cast<__mmask8>((1U << n) - 1U);
  Unroll<16>([&](auto i) INHOUSE_INLINE_LAMBDA {
    const int64_t at = 16 * block + i;
    if (!kAllWords && at >= words) return;
    const __m128i four = _mm512_extracti32x4_epi32(word[i % 4], i / 4);
    _mm_mask_storeu_epi32(out + at * strip, rows, four);
  });
}

// The first `words` words of n <= kTogether rows; `out` stands at the first one's first word.
INHOUSE_INLINE void PutWords(const StagedWords& staged, int64_t n, int64_t words, uint32_t* out,
                             int64_t strip) {
  int64_t block = 0;
  for (; 16 * block + 16 <= words; ++block) PutBlock<true>(staged, n, block, words, out, strip);
  if (16 * block < words) PutBlock<false>(staged, n, block, words, out, strip);
}

// Packs rows m0 to m1 of x as a strip of `words` words each. make(row, i, count, out) writes words
// i to i + count of a row, and up to 15 more (a strip has room for kStripRows rows); i is a
// multiple of kAtOnce.
template <int kAtOnce, typename Make>
INHOUSE_INLINE void PackStripWords(const float* x, int64_t ldx, int64_t m0, int64_t m1,
                                   int64_t words, uint32_t* strip, const Make& make) {
  static_assert(kAtOnce <= kStagedWords);
  const int64_t rows = m1 - m0;
  if (rows == 1) return make(x + m0 * ldx, 0, words, strip);
  for (int64_t i = 0; i < words; i += kAtOnce) {
    const int64_t count = words - i < kAtOnce ? words - i : kAtOnce;
    for (int64_t m = 0; m < rows; m += kTogether) {
      const int64_t n = rows - m < kTogether ? rows - m : kTogether;
      StagedWords staged;
      for (int64_t r = 0; r < n; ++r) make(x + (m0 + m + r) * ldx, i, count, staged.of[r]);
      PutWords(staged, n, count, strip + i * rows + m, rows);
    }
  }
}

// 16 floats of a row of k columns, from column i on; zeros behind its end. Fetches what comes 2 KiB
// later: runs of a row are too short for the hardware to see them coming.
INHOUSE_INLINE __m512 LoadColumns(const float* row, int64_t i, int64_t k) {
  const int64_t left = k - i;
  const uint32_t valid = left >= 16 ? 0xFFFFU : left <= 0 ? 0U : (1U << left) - 1U;
  Prefetch(reinterpret_cast<const std::byte*>(row + i + 512));
  return _mm512_maskz_loadu_ps(static_cast<__mmask16>(valid), row + i);
}

// Words as they are: one float a word.
inline void PackStripF32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
                         int64_t substeps, uint32_t* strip) {
  PackStripWords<256>(x, ldx, m0, m1, substeps, strip,
                      [k](const float* row, int64_t i, int64_t count, uint32_t* out)
                          INHOUSE_INLINE_LAMBDA {
                            for (int64_t j = 0; j < count; j += 16) {
                              _mm512_store_ps(out + j, LoadColumns(row, i + j, k));
                            }
                          });
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
  PackStripWords<256>(
      x, ldx, m0, m1, substeps, strip,
      [k](const float* row, int64_t i, int64_t count, uint32_t* out) INHOUSE_INLINE_LAMBDA {
        for (int64_t j = 0; j < count; j += 16) {
          const int64_t column = 2 * (i + j);
          _mm512_store_si512(
              out + j, PairsBF16(LoadColumns(row, column, k), LoadColumns(row, column + 16, k)));
        }
      });
}

}  // namespace
}  // namespace inhouse::engine
