// Products whose accumulators are integers: GGUF blocks, MXFP4, and INT8 and INT4 groups at the
// VNNI levels.
//
// A format F describes a panel block of F::kBlockGroups groups of 32 columns x 32 rows:
//   kOffset      codes are stored unsigned, value = code - kOffset (a power of two), or
//   kMin         value = scale * code + min, with no offset
//   kHalves      1: one scale per unit, 2: one per 16 columns
//   kUnitGroups  groups that share their scales, and that the activations L share theirs: 1 or 4
//   Scales(block, g, half, scale, min)   16 + 16 rows
//   Codes(block, g, q, w)                words q and q + 4 of x, each 16 + 16 rows
//
// Inside a unit sums are exact in int32 (128 * 255 * 32512 < 2^31); each flush is one float FMA in
// the order of the columns. So few rows (codes expanded in registers) and many (expanded once into
// scratch) give the same bits.
#pragma once

#include "engine/kernels/matmul/avx512_activation_codes.h"
#include "engine/kernels/matmul/avx512_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {
namespace {

INHOUSE_INLINE __m512i DotBytes(__m512i acc, __m512i u8, __m512i s8) {
#if defined(INHOUSE_EMULATED_ISA)
  return _mm512_dpbusd_epi32(acc, u8, s8);
#else
  // Not the intrinsic: GCC 12 copies the accumulator around it and spills the tile.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u8), "v"(s8));
  return acc;
#endif
}

struct GroupTile {
  const std::byte* w;
  int64_t units;
  const uint32_t* x;  // of the strip's first unit
  int64_t rows;       // that exist: the tile's, or one fewer
  float* y;
  int64_t ldy;
  RowMask mask;
  bool first;                 // start from zero, else from y
  const std::byte* prefetch;  // the packed block that is needed next, or null
  const std::byte* x_next;    // what stands at x in the next strip, or null
};

// -128 * (sum of the codes) of a unit or of one of its halves.
template <typename F, typename L, int kRows>
INHOUSE_INLINE __m512i SumOfCodes(const uint32_t* x, int half) {
  const __m512i all = Broadcast(x + L::kOffset * kRows);
  if constexpr (F::kHalves == 1) return all;
  const __m512i first = Broadcast(x + L::kHalf * kRows);
  return half == 0 ? first : _mm512_sub_epi32(all, first);
}

// What the offset of the stored codes added to a sum, negative.
template <typename F, typename L, int kRows>
INHOUSE_INLINE __m512i OffsetCorrection(const uint32_t* x, int half) {
  constexpr int kShift = __builtin_ctz(128 / F::kOffset);
  const __m512i sum = SumOfCodes<F, L, kRows>(x, half);
  if constexpr (kShift == 0) return sum;
  return _mm512_srai_epi32(sum, kShift);
}

// For formats with a minimum: the sum of x.
template <typename F, typename L, int kRows>
INHOUSE_INLINE __m512 SumOfX(const uint32_t* x, int half, __m512 x_scale) {
  if constexpr (!F::kMin) return x_scale;  // not used
  if constexpr (F::kHalves == 1) return BroadcastFloat(x + L::kSum * kRows);
  const __m512 codes =
      _mm512_mul_ps(_mm512_cvtepi32_ps(SumOfCodes<F, L, kRows>(x, half)), _mm512_set1_ps(-0x1p-7F));
  return _mm512_mul_ps(codes, x_scale);
}

// What a flush adds: sum * scale_w * scale_x, and for formats with a minimum min * sum(x).
template <bool kMin>
INHOUSE_INLINE __m512 Flush(__m512i sum, __m512 scale, __m512 min, __m512 x_scale, __m512 x_sum,
                            __m512 total) {
  total = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), _mm512_mul_ps(scale, x_scale), total);
  if constexpr (kMin) total = _mm512_fmadd_ps(min, x_sum, total);
  return total;
}

// Sums of one unit, by plane and half.
template <typename F, typename L, int kRows>
struct UnitSums {
  __m512i v[static_cast<size_t>(L::kPlanes)][static_cast<size_t>(F::kHalves)]
           [static_cast<size_t>(2 * kRows)];
};

// Adds the products of group g of a block; `x` stands at the group's first word.
template <typename F, typename L, int kRows>
INHOUSE_INLINE void AddGroup(const std::byte* block, int g, const uint32_t* x,
                             UnitSums<F, L, kRows>& sums) {
  Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
    __m512i w[4];
    F::Codes(block, g, q, w);
    Unroll<2>([&](auto s) INHOUSE_INLINE_LAMBDA {  // words q and q + 4
      constexpr int kHalf = F::kHalves == 2 ? decltype(s)::value : 0;
      Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
        Unroll<L::kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
          const __m512i v = Broadcast(x + (p * L::kCodeWords + q + 4 * s) * kRows + m);
          Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
            __m512i& sum = sums.v[p][kHalf][2 * m + i];
            sum = DotBytes(sum, w[2 * s + i], v);
          });
        });
      });
    });
  });
}

// Fetches what lies kDirectAhead behind a group. The hardware's prefetchers stop at the end of
// every 4 KiB, and follow badly a group that is read in two runs or after a header: without this
// Q4_K and Q6_K decode at half of the memory's speed, with it all formats at 0.92 to 1.02 of a
// plain read.
template <typename F>
INHOUSE_INLINE void PrefetchAhead(const std::byte* block, int g) {
  constexpr int kBytes = F::kBlockBytes / F::kBlockGroups;
  const std::byte* ahead = block + g * kBytes + kDirectAhead;
  Unroll<(kBytes + 63) / 64>([&](auto i) INHOUSE_INLINE_LAMBDA { Prefetch(ahead + 64 * i); });
}

// Few rows: one pass over the panel, codes expanded in registers, all planes at once.
template <typename F, typename L, int kRows>
void RunDirect(const GroupTile& t) {
  Accumulators<kRows> total;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, true, total);
  const std::byte* block = t.w;
  const uint32_t* x = t.x;
  constexpr int kBlockUnits = F::kBlockGroups / F::kUnitGroups;
  for (int64_t b = 0; b < t.units / kBlockUnits; ++b, block += F::kBlockBytes) {
    for (int u = 0; u < kBlockUnits; ++u, x += L::kWords * kRows) {
      UnitSums<F, L, kRows> sums;
      Unroll<L::kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
        Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
          Unroll<2 * kRows>(
              [&](auto i) INHOUSE_INLINE_LAMBDA { sums.v[p][h][i] = _mm512_setzero_si512(); });
        });
      });
      for (int s = 0; s < F::kUnitGroups; ++s) {
        PrefetchAhead<F>(block, u * F::kUnitGroups + s);
        AddGroup<F, L, kRows>(block, u * F::kUnitGroups + s, x + 8 * s * kRows, sums);
      }
      Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
        __m512 scale[2];
        __m512 min[2];
        F::Scales(block, u * F::kUnitGroups, h, scale, min);
        Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
          const __m512 x_scale = BroadcastFloat(x + L::kScale * kRows + m);
          const __m512 x_sum = SumOfX<F, L, kRows>(x + m, h, x_scale);
          Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
            __m512i sum = sums.v[0][h][2 * m + i];
            if constexpr (L::kPlanes == 2) {
              sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), sums.v[1][h][2 * m + i]);
            }
            if constexpr (!F::kMin) {
              sum = _mm512_add_epi32(sum, OffsetCorrection<F, L, kRows>(x + m, h));
            }
            __m512& to = total.v[2 * m + i];
            to = Flush<F::kMin>(sum, scale[i], min[i], x_scale, x_sum, to);
          });
        });
      });
    }
  }
  StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
}

// How a unit lies in scratch: float scales (and minima) of each half, then the words of codes, with
// the offset 128 unless there are minima.
template <int kHalvesOf, bool kMinOf, int kUnitGroupsOf>
struct Expanded {
  static constexpr int kHalves = kHalvesOf;
  static constexpr bool kMin = kMinOf;
  static constexpr int kUnitGroups = kUnitGroupsOf;
  static constexpr int kOffset = 128;
  static constexpr int kCodesAt = 128 * kHalves * (kMin ? 2 : 1);
  static constexpr int kUnitBytes = kCodesAt + 1024 * kUnitGroups;

  static INHOUSE_INLINE void UnitScales(const std::byte* p, int half, __m512 (&scale)[2],
                                        __m512 (&min)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      scale[i] = _mm512_load_ps(p + 128 * half + 64 * i);
      if constexpr (kMin) min[i] = _mm512_load_ps(p + 128 * (kHalves + half) + 64 * i);
    });
  }
};

// acc += the products of `words` words of one plane; 8 words at a time are unrolled.
template <int kRows, int kWords>
INHOUSE_INLINE void AddPlane(const std::byte* codes, const uint32_t* x,
                             __m512i (&acc)[static_cast<size_t>(2 * kRows)]) {
  constexpr int kStep = kWords < 8 ? kWords : 8;
  for (int word = 0; word < kWords; word += kStep, codes += 128 * kStep, x += kStep * kRows) {
    Unroll<kStep>([&](auto q) INHOUSE_INLINE_LAMBDA {
      const __m512i w0 = Load(codes + 128 * q);
      const __m512i w1 = Load(codes + 128 * q + 64);
      Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
        const __m512i v = Broadcast(x + q * kRows + m);
        acc[2 * m] = DotBytes(acc[2 * m], w0, v);
        acc[2 * m + 1] = DotBytes(acc[2 * m + 1], w1, v);
      });
    });
  }
}

// One unit, or half of one: 2 kRows sums in registers, 2 kRows totals in the first-level cache.
// T is Expanded, or a panel that can be used as it is.
template <typename T, typename L, int kRows>
INHOUSE_INLINE void AddUnit(const std::byte* unit, const uint32_t* x, int half, float* totals) {
  constexpr int kWords = L::kCodeWords / T::kHalves;
  const std::byte* codes = unit + T::kCodesAt + half * kWords * 128;
  const uint32_t* words = x + half * kWords * kRows;
  __m512i acc[static_cast<size_t>(2 * kRows)];
  constexpr bool kStartsWithOffset = L::kPlanes == 1 && !T::kMin;
  Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
    acc[2 * m] = acc[2 * m + 1] =
        kStartsWithOffset ? OffsetCorrection<T, L, kRows>(x + m, half) : _mm512_setzero_si512();
  });
  AddPlane<kRows, kWords>(codes, words, acc);
  if constexpr (L::kPlanes == 2) {
    Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
      Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
        acc[2 * m + i] = _mm512_slli_epi32(acc[2 * m + i], 8);
        if constexpr (!T::kMin) {
          acc[2 * m + i] =
              _mm512_add_epi32(acc[2 * m + i], OffsetCorrection<T, L, kRows>(x + m, half));
        }
      });
    });
    AddPlane<kRows, kWords>(codes, words + L::kCodeWords * kRows, acc);
  }
  Fence();
  __m512 scale[2];
  __m512 min[2];
  T::UnitScales(unit, half, scale, min);
  Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
    const __m512 x_scale = BroadcastFloat(x + L::kScale * kRows + m);
    const __m512 x_sum = SumOfX<T, L, kRows>(x + m, half, x_scale);
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      float* to = totals + 32 * m + 16 * i;
      _mm512_store_ps(
          to, Flush<T::kMin>(acc[2 * m + i], scale[i], min[i], x_scale, x_sum, _mm512_load_ps(to)));
    });
  });
}

// Many rows.
template <typename T, typename L, int kRows, int kPrefetchBytes>
void RunExpanded(const GroupTile& t) {
  alignas(64) float totals[static_cast<size_t>(32 * kRows)];
  LoadTotals<kRows>(t.y, t.ldy, t.mask, t.first, totals, t.rows);
  const std::byte* unit = t.w;
  const std::byte* ahead = t.prefetch;
  const std::byte* x_ahead = t.x_next;
  const uint32_t* x = t.x;
  for (int64_t u = 0; u < t.units; ++u, unit += T::kUnitBytes, x += L::kWords * kRows) {
    if (x_ahead != nullptr) {  // x comes from the third-level cache in short runs
      constexpr int kBytes = L::kWords * kRows * 4;
      for (int i = 0; i < kBytes; i += 64) Prefetch(x_ahead + i);
      x_ahead += kBytes;
    }
    if (ahead != nullptr) {
      for (int i = 0; i < kPrefetchBytes; i += 64) Prefetch(ahead + i);
      ahead += kPrefetchBytes;
    }
    Unroll<T::kHalves>([&](auto half)
                           INHOUSE_INLINE_LAMBDA { AddUnit<T, L, kRows>(unit, x, half, totals); });
  }
  StoreTotals<kRows>(t.y, t.ldy, t.mask, totals, t.rows);
}

}  // namespace
}  // namespace inhouse::engine
