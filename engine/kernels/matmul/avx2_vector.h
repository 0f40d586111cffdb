// Small helpers of the AVX2 and AVX-VNNI translation units, and only of these.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/kernels/matmul/avx2_strips.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

constexpr int kPanelVectors = kPanelRows / 8;
constexpr int kWordBytes = 4 * kPanelRows;  // a word of four bytes of every row

template <int R, int C>
using IntTile = __m256i[static_cast<size_t>(R)][static_cast<size_t>(C)];
template <int N>
using IntRow = __m256i[static_cast<size_t>(N)];
template <int N>
using FloatRow = __m256[static_cast<size_t>(N)];

inline __m256i LoadBytes(const std::byte* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
inline __m256 LoadFloats(const std::byte* p) {
  return _mm256_load_ps(reinterpret_cast<const float*>(p));
}
// Four bytes of x in every lane.
inline __m256i Broadcast(const std::byte* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}
inline __m256 BroadcastFloat(const std::byte* p) {
  return _mm256_broadcast_ss(reinterpret_cast<const float*>(p));
}
// Eight F16 numbers.
inline __m256 LoadHalfs(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
// Eight unsigned or signed bytes as floats.
inline __m256 LoadU8(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline __m256 LoadS8(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// acc += a, in 16 or 32 bits. With the intrinsics GCC 12 moves the accumulators of a tile about,
// and spills them.
[[gnu::always_inline]] inline void Add16(__m256i a, __m256i& acc) {
  asm("vpaddw %1, %0, %0" : "+x"(acc) : "x"(a));
}
[[gnu::always_inline]] inline void Add32(__m256i a, __m256i& acc) {
  asm("vpaddd %1, %0, %0" : "+x"(acc) : "x"(a));
}

template <int64_t kBytes>
[[gnu::always_inline]] inline void Prefetch(const std::byte* p) {
#pragma GCC unroll 64
  for (int64_t line = 0; line < kBytes; line += 64) {
    _mm_prefetch(reinterpret_cast<const char*>(p + line), _MM_HINT_T0);
  }
}

// body(kBegin), ..., body(kEnd - 1), unrolled; where GCC ignores the pragma.
template <int kBegin, int kEnd, typename Body>
[[gnu::always_inline]] inline void Unrolled(Body body) {
  if constexpr (kBegin < kEnd) {
    body(kBegin);
    Unrolled<kBegin + 1, kEnd>(body);
  }
}

// Fetches the weights of C vectors, b[c] = load(c), and gives every (row, vector) pair to
// add(r, c, x[r], b[c]), in the order that needs fewer registers; `x` is [R] words.
template <int R, int C, typename Load, typename Add>
[[gnu::always_inline]] inline void ForEachPair(const std::byte* x, Load load, Add add) {
  if constexpr (R < C) {
    IntRow<R> a;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = Broadcast(x + 4 * r);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m256i b = load(c);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) add(r, c, a[r], b);
    }
  } else {
    IntRow<C> b;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) b[c] = load(c);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256i a = Broadcast(x + 4 * r);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) add(r, c, a, b[c]);
    }
  }
}

// A part of a panel that was decoded once, in L1, serves so many strips: 516 rows, so that a step
// of a prompt decodes it once. Their sums stay in L2.
constexpr int64_t kChunkStrips = 86;
constexpr int64_t kStripSums = int64_t{kStripRows} * kPanelRows;

// Writes the sums [rows][32] of the rows from m0 on.
inline void StoreRows(const PanelProduct& p, int64_t m0, int64_t rows, const float* sums) {
  for (int64_t r = 0; r < rows; ++r) {
    std::memcpy(p.y + (m0 + r) * p.ldy, sums + r * kPanelRows,
                static_cast<size_t>(p.n_rows) * sizeof(float));
  }
}

}  // namespace
}  // namespace inhouse::engine::avx2
