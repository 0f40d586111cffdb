// How the AVX2 level multiplies integer codes with those of x: the sums of a group of columns,
// exact. Only for the AVX2 and AVX-VNNI translation units.
//
// A dot type has the record of x that it takes and
//   Sum<F, kHalf, R, C>(block, g, c0, x, strip, sum): sum[r][c] = sum of (code - F::kOffset) * x
//   over the columns of the group g of `block`, or of one half of it; for R rows of a strip, from
//   the vector c0 on. `x` stands at the group's first record plus four times the first row.
// and the numbers of rows (kDirectHalves: of formats with halves) from which a copy of the codes
// pays. Exact sums have no order, so tiles of any shape give the same bits.
#pragma once

#include <immintrin.h>

#include "engine/kernels/matmul/avx2_vector.h"

namespace inhouse::engine::avx2 {
namespace {

// Where a sum begins and ends within a record, in quads of columns.
constexpr int kWhole = -1;
constexpr int FirstQuad(int half) { return half == 1 ? 4 : 0; }
constexpr int EndQuad(int half) { return half == 0 ? 4 : 8; }

// Unsigned codes of up to six bits by VPMADDUBSW, added in 16 bits (VPADDW wraps, so only the last
// sum need fit). A lane has 16 products of a record, 8 of a half one: with codes that are at most
// 16 from F::kOffset (32 if sums end after half a record) 16 * 16 * 127 < 2^15. Codes of up to 31
// without an offset are recentred: their sums begin at -16 times the sum of x, which is given back
// in 32 bits.
template <int kPlanes>
struct Chains {
  using Record = PlaneRecord<kPlanes>;
  static constexpr int kTileRows = kPlanes == 1 ? 6 : 3;
  static constexpr int kDirectRows = 18;
  static constexpr int kDirectHalves = kPlanes == 1 ? 12 : 4;
  static constexpr int Columns(int rows) { return rows <= (kPlanes == 1 ? 2 : 1) ? 4 : 2; }

  // sum = one record, or half of one; `record` counts from the beginning of the block.
  template <typename F, int kHalf, int R, int C>
  [[gnu::always_inline]] static void AddRecord(const std::byte* block, int record, int c0,
                                               const std::byte* x, int64_t strip,
                                               IntTile<R, C>& sum) {
    constexpr int kCentre = F::kOffset + F::kRecentre;
    if (kHalf != 1 && c0 == 0) F::Touch(block, record);
    IntTile<R, C> acc[size_t{kPlanes}];
    const auto lanes = [&](int p, int r) {
      return Broadcast(x + (Record::kLanes + 12 * p + 4 * (kHalf + 1)) * strip + 4 * r);
    };
#pragma GCC unroll 2
    for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m256i start = kCentre == 0
                                  ? _mm256_setzero_si256()
                                  : _mm256_mullo_epi16(lanes(p, r), _mm256_set1_epi16(-kCentre));
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[p][r][c] = start;
      }
    }
    Unrolled<FirstQuad(kHalf), EndQuad(kHalf)>([&](int i) __attribute__((always_inline)) {
      const int q = kHalf == kWhole ? i / 2 + i % 2 * 4 : i;  // both nibbles of a word together
      const std::byte* xq = x + (Record::kCodes + 4 * kPlanes * q) * strip;
      IntRow<C> b;
      if constexpr (kPlanes == 1) {
        ForEachPair<R, C>(
            xq, [&](int c) { return F::Quad(block, record, q, c0 + c); },
            [&](int r, int c, __m256i a, __m256i w) {
              Add16(_mm256_maddubs_epi16(w, a), acc[0][r][c]);
            });
      } else {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) b[c] = F::Quad(block, record, q, c0 + c);
#pragma GCC unroll 2
        for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) {
            const __m256i a = Broadcast(xq + 4 * p * strip + 4 * r);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) Add16(_mm256_maddubs_epi16(b[c], a), acc[p][r][c]);
          }
        }
      }
    });
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      __m256i back = _mm256_setzero_si256();
      if constexpr (F::kRecentre != 0) {
        back = _mm256_madd_epi16(lanes(kPlanes - 1, r), _mm256_set1_epi16(F::kRecentre));
        if constexpr (kPlanes == 2) {
          back = _mm256_add_epi32(
              back, _mm256_madd_epi16(lanes(0, r), _mm256_set1_epi16(255 * F::kRecentre)));
        }
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        sum[r][c] = _mm256_madd_epi16(acc[kPlanes - 1][r][c], _mm256_set1_epi16(1));
        if constexpr (kPlanes == 2) {
          sum[r][c] =
              _mm256_add_epi32(sum[r][c], _mm256_madd_epi16(acc[0][r][c], _mm256_set1_epi16(255)));
        }
        if constexpr (F::kRecentre != 0) sum[r][c] = _mm256_add_epi32(sum[r][c], back);
      }
    }
  }

  template <typename F, int kHalf, int R, int C>
  [[gnu::always_inline]] static void Sum(const std::byte* block, int g, int c0, const std::byte* x,
                                         int64_t strip, IntTile<R, C>& sum) {
    if constexpr (F::kGroupRecords == 1) {
      AddRecord<F, kHalf, R, C>(block, g, c0, x, strip, sum);
    } else {
      // The sums of the group stay in memory: the registers are full of 16-bit ones.
      alignas(32) __m256i total[static_cast<size_t>(R * C)];
      __m256i* at = total;
      asm("" : "+r"(at));
      for (int i = 0; i < F::kGroupRecords; ++i) {
        AddRecord<F, kHalf, R, C>(block, g * F::kGroupRecords + i, c0, x, strip, sum);
        x += Record::kBytes * strip;
#pragma GCC unroll 16
        for (int t = 0; t < R * C; ++t) {
          const __m256i s = sum[t / C][t % C];
          at[t] = i == 0 ? s : _mm256_add_epi32(s, at[t]);
        }
        asm("" : "+r"(at) : : "memory");
      }
#pragma GCC unroll 16
      for (int t = 0; t < R * C; ++t) sum[t / C][t % C] = at[t];
    }
  }
};

// Codes of two bytes by VPMADDWD: those of eight bits, for which VPMADDUBSW is no faster (the sum
// of two products fills its 16 bits, so that every one would have to be widened by a VPMADDWD), and
// any that meet 16-bit activations and were widened before, where it saves the second plane.
template <bool kSums>
struct Words {
  using Record = WordRecord<kSums>;
  static constexpr int kTileRows = 6;
  static constexpr int kDirectRows = 72;
  static constexpr int kDirectHalves = 0;  // no format with halves
  static constexpr int Columns(int rows) { return rows <= 2 ? 4 : 2; }

  template <typename F, int kHalf, int R, int C>
  [[gnu::always_inline]] static void Sum(const std::byte* block, int g, int c0, const std::byte* x,
                                         int64_t strip, IntTile<R, C>& sum) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = _mm256_setzero_si256();
    }
    for (int i = 0; i < F::kGroupRecords; ++i) {
      if (kHalf != 1 && c0 == 0) F::Touch(block, g * F::kGroupRecords + i);
      Unrolled<2 * FirstQuad(kHalf), 2 * EndQuad(kHalf)>([&](int p) __attribute__((always_inline)) {
        ForEachPair<R, C>(
            x + (Record::kCodes + 4 * p) * strip,
            [&](int c) { return F::Pair(block, g * F::kGroupRecords + i, p, c0 + c); },
            [&](int r, int c, __m256i a, __m256i w) { Add32(_mm256_madd_epi16(w, a), sum[r][c]); });
      });
      x += Record::kBytes * strip;
    }
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
