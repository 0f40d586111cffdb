// How a panel holds the integer codes of a group of 32 columns: as 16-bit lanes [32 rows][2
// columns], so that one shift and one mask give a pair of columns for eight rows, ready for
// VPMADDWD. Only for the AVX2 and AVX-VNNI translation units.
//
// Put adds one code to a zeroed panel; Pair fetches the columns 2 p and 2 p + 1 of the rows of
// vector v.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

constexpr int kVectorBytes = 32;
constexpr int kWordBytes = kPanelRows * 4;  // a pair of 16-bit lanes for every row

// int8 [16 pairs][32 rows][2].
struct ByteCodes {
  static constexpr int64_t kBytes = kGroup * kPanelRows;
  static void Put(std::byte* codes, int row, int column, uint32_t code) {
    codes[column / 2 * kPanelRows * 2 + row * 2 + column % 2] = static_cast<std::byte>(code);
  }
  [[gnu::always_inline]] static __m256i Pair(const std::byte* codes, int p, int v) {
    const std::byte* at = codes + p * kPanelRows * 2 + v * (kVectorBytes / 2);
    return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
  }
};

// Codes of kBits = 1, 2 or 4 bits: a 16-bit lane holds those of 16 / kBits successive pairs. Pair
// puts them at bit kAt.
template <int kBits, int kAt = 0>
struct PlaneCodes {
  static constexpr int kPairs = 16 / kBits;
  static constexpr int64_t kBytes = 16 / kPairs * kWordBytes;

  static void Put(std::byte* codes, int row, int column, uint32_t code) {
    const int p = column / 2;
    std::byte* at = codes + p / kPairs * kWordBytes + row * 4 + column % 2 * 2;
    uint16_t lane;
    std::memcpy(&lane, at, 2);
    lane = static_cast<uint16_t>(lane | (code & ((1U << kBits) - 1)) << (p % kPairs * kBits));
    std::memcpy(at, &lane, 2);
  }

  [[gnu::always_inline]] static __m256i Pair(const std::byte* codes, int p, int v) {
    const __m256i word = LoadBytes(codes + p / kPairs * kWordBytes + v * kVectorBytes);
    const int bit = p % kPairs * kBits;
    const __m256i moved =
        bit >= kAt ? _mm256_srli_epi16(word, bit - kAt) : _mm256_slli_epi16(word, kAt - bit);
    if (kAt == 0 && bit + kBits == 16) return moved;  // nothing above it
    return _mm256_and_si256(moved, _mm256_set1_epi16(((1 << kBits) - 1) << kAt));
  }
};

// kLow low bits in one plane, the others above them in a second.
template <int kLow, int kHigh>
struct TwoPlaneCodes {
  using Low = PlaneCodes<kLow>;
  using High = PlaneCodes<kHigh, kLow>;
  static constexpr int64_t kBytes = Low::kBytes + High::kBytes;
  static void Put(std::byte* codes, int row, int column, uint32_t code) {
    Low::Put(codes, row, column, code);
    High::Put(codes + Low::kBytes, row, column, code >> kLow);
  }
  [[gnu::always_inline]] static __m256i Pair(const std::byte* codes, int p, int v) {
    return _mm256_or_si256(Low::Pair(codes, p, v), High::Pair(codes + Low::kBytes, p, v));
  }
};

// E2M1 nibbles; Pair gives twice their value plus twelve: 0..24.
struct E2M1Codes {
  static constexpr int64_t kBytes = PlaneCodes<4>::kBytes;
  static void Put(std::byte* codes, int row, int column, uint32_t code) {
    PlaneCodes<4>::Put(codes, row, column, code);
  }
  [[gnu::always_inline]] static __m256i Pair(const std::byte* codes, int p, int v) {
    const __m256i values = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    // VPSHUFB gives zero where bit 7 of the index is set: the upper byte of each lane.
    const __m256i index =
        _mm256_or_si256(PlaneCodes<4>::Pair(codes, p, v), _mm256_set1_epi16(-0x8000));
    return _mm256_shuffle_epi8(values, index);
  }
};

// sum[r][c] = the exact products of the pairs [begin, end) of a group. `codes` stands at row 0 of
// the group, c0 is the tile's first vector, `x` is the group of a strip.
template <typename Dot, typename Codes, int R, int C>
[[gnu::always_inline]] inline void SumPairs(const std::byte* codes, int c0, int begin, int end,
                                            const std::byte* x, IntTile<R, C>& sum) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) sum[r][c] = _mm256_setzero_si256();
  }
#pragma GCC unroll 16
  for (int p = begin; p < end; ++p) {
    ForEachPair<R, C>(
        x + GroupOffsets::kCodes * R + p * 4 * R,
        [&](int c) { return Codes::Pair(codes, p, c0 + c); },
        [&sum](int r, int c, __m256i a, __m256i b) { Dot::Add(b, a, sum[r][c]); });
  }
}

// Weights are code - kOffset: takes kOffset times the sum of x (at `sums` of the strip's group)
// off.
template <int kOffset, int R, int C>
[[gnu::always_inline]] inline void TakeOffset(const std::byte* sums, IntTile<R, C>& sum) {
  if constexpr (kOffset != 0) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256i offset =
          _mm256_mullo_epi32(Broadcast(sums + 4 * r), _mm256_set1_epi32(kOffset));
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = _mm256_sub_epi32(sum[r][c], offset);
    }
  }
}

}  // namespace
}  // namespace inhouse::engine::avx2
