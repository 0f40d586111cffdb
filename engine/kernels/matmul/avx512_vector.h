// What the AVX-512 files share. Everything is in an anonymous namespace: each translation unit is
// compiled with the flags of its own level and keeps its own copy.
#pragma once

#include <immintrin.h>

#include <cstddef>
#include <cstdint>

#define INHOUSE_INLINE __attribute__((always_inline)) inline
#define INHOUSE_INLINE_LAMBDA __attribute__((always_inline))

namespace inhouse::engine {
namespace {

constexpr int kPanelRows = 32;  // two registers of 16 floats
constexpr int kStripRows = 12;  // 12 x 2 accumulators, 2 weights, 1 activation of 32 registers

// How far before it is needed products of few rows fetch their panel, in bytes. The hardware's
// prefetchers stop at the end of every 4 KiB, and follow badly a group that is read in two runs or
// after a header: without this Q4_K and Q6_K decode at half of the memory's speed, with it all
// formats at 0.92 to 1.02 of a plain read.
constexpr int kDirectAhead = 6144;

constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}

// A loop that is always unrolled: arrays of registers that are indexed by it stay in registers.
template <int kValue>
struct Int {
  static constexpr int value = kValue;
  constexpr operator int() const { return kValue; }
};
template <int kCount, int kIndex = 0, typename Body>
INHOUSE_INLINE void Unroll(const Body& body) {
  if constexpr (kIndex < kCount) {
    body(Int<kIndex>{});
    Unroll<kCount, kIndex + 1>(body);
  }
}

INHOUSE_INLINE __m512i Load(const std::byte* p) { return _mm512_loadu_si512(p); }
INHOUSE_INLINE __m512i Broadcast(const uint32_t* p) {
  return _mm512_set1_epi32(static_cast<int>(*p));
}
INHOUSE_INLINE __m512 BroadcastFloat(const uint32_t* p) {
  return _mm512_castsi512_ps(Broadcast(p));
}
INHOUSE_INLINE void Prefetch(const std::byte* p) {
  _mm_prefetch(reinterpret_cast<const char*>(p), _MM_HINT_T0);
}
// 16 F16 values.
INHOUSE_INLINE __m512 LoadF16(const std::byte* p) {
  return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
}
// 16 unsigned or signed bytes, widened.
INHOUSE_INLINE __m512i LoadU8(const std::byte* p) {
  return _mm512_cvtepu8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}
INHOUSE_INLINE __m512i LoadI8(const std::byte* p) {
  return _mm512_cvtepi8_epi32(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
}

// One row of y, of which `n_rows` columns exist.
struct RowMask {
  __mmask16 low, high;
};
INHOUSE_INLINE RowMask MaskOf(int n_rows) {
  const uint32_t bits = n_rows >= 32 ? 0xFFFFFFFFU : (1U << n_rows) - 1U;
  return {static_cast<__mmask16>(bits & 0xFFFFU), static_cast<__mmask16>(bits >> 16)};
}

// 16 + 16 columns of each row.
template <int kRows>
struct Accumulators {
  __m512 v[static_cast<size_t>(2 * kRows)];
};

template <int kRows>
INHOUSE_INLINE void LoadAccumulators(const float* y, int64_t ldy, RowMask mask, bool first,
                                     Accumulators<kRows>& acc) {
  if (first) {
    Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA { acc.v[i] = _mm512_setzero_ps(); });
    return;
  }
  Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
    acc.v[2 * m] = _mm512_maskz_loadu_ps(mask.low, y + m * ldy);
    acc.v[2 * m + 1] = _mm512_maskz_loadu_ps(mask.high, y + m * ldy + 16);
  });
}

template <int kRows>
INHOUSE_INLINE void StoreAccumulators(float* y, int64_t ldy, RowMask mask,
                                      const Accumulators<kRows>& acc) {
  Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
    _mm512_mask_storeu_ps(y + m * ldy, mask.low, acc.v[2 * m]);
    _mm512_mask_storeu_ps(y + m * ldy + 16, mask.high, acc.v[2 * m + 1]);
  });
}

}  // namespace
}  // namespace inhouse::engine
