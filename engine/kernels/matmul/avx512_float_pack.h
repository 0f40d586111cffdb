// Packing float weights into panels of 32 rows: 16 words of 32 bits at a time.
#pragma once

#include "engine/kernels/matmul/avx512_pack.h"

namespace inhouse::engine {
namespace {

// 64 bytes of 16 rows from `offset`, of which the rows have `left`; missing rows are zeros. Word w
// of all rows ends up in v[w].
INHOUSE_INLINE void LoadWords16(const std::byte* const* rows, int n_rows, int64_t offset,
                                int64_t left, __m512i (&v)[16]) {
  if (n_rows >= 16 && left >= 64) {
    Unroll<16>([&](auto i) INHOUSE_INLINE_LAMBDA {
      v[i] = Load(rows[i] + offset);
      Prefetch(rows[i] + offset + kPackAhead);
    });
  } else {
    const __mmask64 bytes = left >= 64 ? ~__mmask64{0} : (__mmask64{1} << left) - 1;
    Unroll<16>([&](auto i) INHOUSE_INLINE_LAMBDA {
      v[i] = i < n_rows ? _mm512_maskz_loadu_epi8(bytes, rows[i] + offset) : _mm512_setzero_si512();
    });
  }
  Transpose(v);
}

// Calls put(word, half, v) for the 16 rows of each half of the panel and each word of `words`;
// rows end after `row_bytes`, from where on they are zeros.
template <typename PutWord>
INHOUSE_INLINE void ForWords(const std::byte* const* rows, int n_rows, int64_t row_bytes,
                             int64_t words, const PutWord& put) {
  for (int64_t begin = 0; begin < words; begin += 16) {
    const int64_t left = row_bytes - 4 * begin;
    for (int half = 0; half < 2; ++half) {
      __m512i v[16];
      LoadWords16(rows + 16 * half, n_rows - 16 * half, 4 * begin, left, v);
      if (words - begin >= 16) {
        Unroll<16>([&](auto i) INHOUSE_INLINE_LAMBDA { put(begin + i, half, v[i]); });
      } else {
        for (int64_t i = 0; i < words - begin; ++i) put(begin + i, half, v[i]);
      }
    }
  }
  PutsAreDone();
}

// Words of 32 bits: F32, or BF16 pairs. out[word][32 rows].
inline void PackWords32(const std::byte* const* rows, int n_rows, int64_t row_bytes, int64_t words,
                        std::byte* panel) {
  ForWords(rows, n_rows, row_bytes, words,
           [&](int64_t word, int half, __m512i v)
               INHOUSE_INLINE_LAMBDA { Put(panel + 128 * word + 64 * half, v); });
}

// Words of 16 bits: F16. out[word][32 rows].
inline void PackWords16(const std::byte* const* rows, int n_rows, int64_t words, std::byte* panel) {
  const int64_t pairs = (words + 1) / 2;
  ForWords(rows, n_rows, 2 * words, pairs,
           [&](int64_t pair, int half, __m512i v) INHOUSE_INLINE_LAMBDA {
             std::byte* p = panel + 128 * pair + 32 * half;
             Put32(p, _mm512_cvtepi32_epi16(v));
             if (2 * pair + 1 < words) {
               Put32(p + 64, _mm512_cvtepi32_epi16(_mm512_srli_epi32(v, 16)));
             }
           });
}

// Four columns of 8 bits a step; in each 16-byte lane columns 0 and 1 of four rows, then columns 2
// and 3 (WeightsFp8).
inline void PackBytes8(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  const __m512i order =
      _mm512_broadcast_i32x4(_mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  ForWords(rows, n_rows, k, (k + 3) / 4,
           [&](int64_t step, int half, __m512i v) INHOUSE_INLINE_LAMBDA {
             Put(panel + 128 * step + 64 * half, _mm512_shuffle_epi8(v, order));
           });
}

}  // namespace
}  // namespace inhouse::engine
