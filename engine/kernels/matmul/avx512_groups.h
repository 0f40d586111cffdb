// Products whose accumulators are integers: GGUF blocks, MXFP4, and INT8 and INT4 groups at the
// VNNI levels.
//
// A format F describes a panel block of F::kBlockGroups groups of 32 columns x 32 rows:
//   kOffset      codes are stored unsigned, value = code - kOffset (a power of two), or
//   kMin         value = scale * code + min, with no offset
//   kHalves      1: one scale per unit, 2: one per 16 columns
//   kExpandFrom  rows from which it pays to expand a chunk of codes once, into scratch, or kNever
//   kUnitGroups  groups that share their scales, and that the activations L share theirs: 1 or 4
//   Scales(block, g, half, scale, min)   16 + 16 rows
//   Codes(block, g, q, w)                words q and q + 4 of x, each 16 + 16 rows
//
// Inside a unit sums are exact in int32 (128 * 255 * 32512 < 2^31); each flush is one float FMA in
// the order of the columns. So the number of rows in a tile, and whether codes were expanded in
// registers or before, do not change a bit.
//
// A tile keeps its totals in registers and is therefore of few rows. Expanding the codes again for
// the next few rows is cheaper than a taller tile whose totals go through memory at every flush:
// with 8-bit activations and data in the caches six rows of Q8_0 ran 1.4 times as fast as twelve,
// of INT8 in groups of 128 1.2 times (Zen 5).
#pragma once

#include "engine/kernels/matmul/avx512_activation_codes.h"
#include "engine/kernels/matmul/avx512_tiles.h"
#include "engine/kernels/matmul/avx512_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kNever = int64_t{1} << 62;

INHOUSE_INLINE __m512i DotBytes(__m512i acc, __m512i u8, __m512i s8) {
#if defined(INHOUSE_EMULATED_ISA)
  return _mm512_dpbusd_epi32(acc, u8, s8);
#else
  // Not the intrinsic: GCC 12 copies the accumulator around it and spills the tile.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u8), "v"(s8));
  return acc;
#endif
}

// The words of a unit of x that are no codes, for one row: `x` stands at the row's scale.
template <typename F, typename L>
struct UnitFields {
  const uint32_t* x;
  int64_t strip;

  INHOUSE_INLINE __m512 Scale() const { return BroadcastFloat(x); }

  // -128 * (sum of the codes) of the unit or of one of its halves.
  INHOUSE_INLINE __m512i SumOfCodes(int half) const {
    const __m512i all = Broadcast(x + (L::kOffset - L::kScale) * strip);
    if constexpr (F::kHalves == 1) return all;
    const __m512i first = Broadcast(x + (L::kHalf - L::kScale) * strip);
    return half == 0 ? first : _mm512_sub_epi32(all, first);
  }

  // What the offset of the stored codes added to a sum, negative.
  INHOUSE_INLINE __m512i OffsetCorrection(int half) const {
    constexpr int kShift = __builtin_ctz(128 / F::kOffset);
    const __m512i sum = SumOfCodes(half);
    if constexpr (kShift == 0) return sum;
    return _mm512_srai_epi32(sum, kShift);
  }

  // For formats with a minimum: the sum of x.
  INHOUSE_INLINE __m512 SumOfX(int half) const {
    if constexpr (F::kHalves == 1) return BroadcastFloat(x + (L::kSum - L::kScale) * strip);
    const __m512 codes =
        _mm512_mul_ps(_mm512_cvtepi32_ps(SumOfCodes(half)), _mm512_set1_ps(-0x1p-7F));
    return _mm512_mul_ps(codes, Scale());
  }
};

// Sums of one unit, by plane and half.
template <typename F, typename L, int kRows>
struct UnitSums {
  __m512i v[static_cast<size_t>(L::kPlanes)][static_cast<size_t>(F::kHalves)]
           [static_cast<size_t>(2 * kRows)];

  // To zero, and not to what the offset of the codes will have added: GCC would copy 24 registers.
  INHOUSE_INLINE void Clear() {
    Unroll<L::kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
      Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
        Unroll<2 * kRows>([&](auto i)
                              INHOUSE_INLINE_LAMBDA { v[p][h][i] = _mm512_setzero_si512(); });
      });
    });
  }

  // Adds the products of group g of a block; `x` stands at the group's first word.
  INHOUSE_INLINE void AddGroup(const std::byte* block, int g, const uint32_t* x, int64_t strip) {
    const uint32_t* low = x + L::kCodeWords * strip;  // the second plane, if there is one
    Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
      __m512i w[4];
      F::Codes(block, g, q, w);
      Unroll<2>([&](auto s) INHOUSE_INLINE_LAMBDA {  // words q and q + 4
        constexpr int kHalf = F::kHalves == 2 ? decltype(s)::value : 0;
        Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
          Unroll<L::kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
            const __m512i word = Broadcast((p == 0 ? x : low) + (q + 4 * s) * strip + m);
            Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
              __m512i& sum = v[p][kHalf][2 * m + i];
              sum = DotBytes(sum, w[2 * s + i], word);
            });
          });
        });
      });
    });
  }

  // Adds sum * scale_w * scale_x, and for formats with a minimum min * sum(x), to the totals.
  INHOUSE_INLINE void Flush(const std::byte* block, int g, const uint32_t* x, int64_t strip,
                            Accumulators<kRows>& total) const {
    Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
      __m512 scale[2];
      __m512 min[2];
      F::Scales(block, g, h, scale, min);
      Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
        const UnitFields<F, L> fields{x + L::kScale * strip + m, strip};
        Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
          __m512i sum = v[0][h][2 * m + i];
          if constexpr (L::kPlanes == 2) {
            sum = _mm512_add_epi32(_mm512_slli_epi32(sum, 8), v[1][h][2 * m + i]);
          }
          if constexpr (!F::kMin) sum = _mm512_add_epi32(sum, fields.OffsetCorrection(h));
          __m512& to = total.v[2 * m + i];
          const __m512 scales = _mm512_mul_ps(scale[i], fields.Scale());
          to = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum), scales, to);
          if constexpr (F::kMin) to = _mm512_fmadd_ps(min[i], fields.SumOfX(h), to);
        });
      });
    });
  }
};

// The steps of its tiles are units.
template <typename F, typename L>
struct GroupTiles {
  // The most rows whose sums and totals stay in registers, beside 4 of weights and one of x.
  static constexpr int kMax = 13 / (L::kPlanes * F::kHalves + 1);

  template <int kRows>
  static void Run(const Tile& t) {
    Accumulators<kRows> total;
    LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, total);
    const std::byte* block = t.w;
    const uint32_t* x = t.x;
    Ahead ahead = t.ahead;
    constexpr int kBlockUnits = F::kBlockGroups / F::kUnitGroups;
    for (int64_t b = 0; b < t.steps / kBlockUnits; ++b, block += F::kBlockBytes) {
      for (int u = 0; u < kBlockUnits; ++u, x += L::kWords * t.strip) {
        UnitSums<F, L, kRows> sums;
        sums.Clear();
        for (int s = 0; s < F::kUnitGroups; ++s) {
          ahead.Fetch();
          sums.AddGroup(block, u * F::kUnitGroups + s, x + 8 * s * t.strip, t.strip);
        }
        sums.Flush(block, u * F::kUnitGroups, x, t.strip, total);
      }
    }
    StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
  }
};

// A unit of a format whose codes or scales are not quickly had, expanded in scratch: float scales
// (and minima) of each half, then the codes, with the offset 128 unless there are minima.
template <int kHalvesOf, bool kMinOf, int kUnitGroupsOf>
struct Expanded {
  static constexpr int kBlockGroups = kUnitGroupsOf;
  static constexpr int kUnitGroups = kUnitGroupsOf;
  static constexpr int kHalves = kHalvesOf;
  static constexpr bool kMin = kMinOf;
  static constexpr int kOffset = 128;
  static constexpr int kCodesAt = 128 * kHalves * (kMin ? 2 : 1);
  static constexpr int kBlockBytes = kCodesAt + 1024 * kUnitGroups;

  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int half, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      scale[i] = _mm512_load_ps(p + 128 * half + 64 * i);
      if constexpr (kMin) min[i] = _mm512_load_ps(p + 128 * (kHalves + half) + 64 * i);
    });
  }
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + kCodesAt + 1024 * g + 128 * q;
    w[0] = Load(codes);
    w[1] = Load(codes + 64);
    w[2] = Load(codes + 512);
    w[3] = Load(codes + 576);
  }
};

}  // namespace
}  // namespace inhouse::engine
