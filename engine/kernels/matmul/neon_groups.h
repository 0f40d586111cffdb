// Integer codes times activations in groups: the loops that the SDOT and SMMLA levels share.
//
// The products of a group are summed exactly in 32-bit integers (128 columns * 128 * 32512 < 2^31);
// then sum * weight scale * x scale is added to the output's one float chain. Exact sums have no
// order, so tiles of any shape give the same bits.
//
// `Dot` is the arithmetic (neondot.cc, neoni8mm.cc): Dot::Tile<R, C> holds the sums of R rows of x
// and C units of four rows of weights, Dot::Add adds the products of one vector of each unit, and
// Dot::Sum gives four finished sums.
#pragma once

#include "engine/kernels/matmul/neon_formats.h"
#include "engine/kernels/matmul/neon_strips.h"

namespace inhouse::engine::neon {
namespace {

// A format whose codes were expanded to bytes and whose scales are floats, one group after the
// other: what more than one strip of activations uses.
template <int kGroupColumns, int kGroupHalves, bool kHasMin>
struct Expanded {
  using Code = ByteCodes;
  static constexpr int kColumns = kGroupColumns;
  static constexpr int kHalves = kGroupHalves;
  static constexpr bool kMin = kHasMin;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kMinAt = kHalves * kPanelRows * 4;
  static constexpr int64_t kCodesAt = kMinAt + (kMin ? kPanelRows * 4 : 0);
  static constexpr int64_t kBlockBytes = kCodesAt + kColumns / 32 * kUnits * Code::kUnitBytes;

  static INHOUSE_INLINE const std::byte* Codes(const std::byte* block, int /*g*/) {
    return block + kCodesAt;
  }
  static INHOUSE_INLINE float32x4_t Scale(const std::byte* block, int /*g*/, int half, int u) {
    return LoadFloats(block + (half * kPanelRows + 4 * u) * 4);
  }
  static INHOUSE_INLINE float32x4_t Min(const std::byte* block, int /*g*/, int u) {
    return LoadFloats(block + kMinAt + 16 * u);
  }
};

INHOUSE_INLINE void StoreFloats(std::byte* p, float32x4_t v) {
  vst1q_u8(reinterpret_cast<uint8_t*>(p), vreinterpretq_u8_f32(v));
}

// Expands group g of a block.
template <typename F>
inline void ExpandGroup(const std::byte* block, int g, std::byte* out) {
  using E = Expanded<F::kColumns, F::kHalves, F::kMin>;
  for (int u = 0; u < kUnits; ++u) {
    for (int half = 0; half < F::kHalves; ++half) {
      StoreFloats(out + (half * kPanelRows + 4 * u) * 4, F::Scale(block, g, half, u));
    }
    if (F::kMin) StoreFloats(out + E::kMinAt + 16 * u, F::Min(block, g, u));
  }
  const std::byte* codes = F::Codes(block, g);
  auto* bytes = reinterpret_cast<int8_t*>(out + E::kCodesAt);
  for (int unit = 0; unit < F::kColumns / 32 * kUnits; ++unit) {
    Unroll<kUnitVectors>([&](auto j) INHOUSE_INLINE_LAMBDA {
      vst1q_s8(bytes + (unit * kUnitVectors + j) * 16,
               F::Code::Get(codes + unit * F::Code::kUnitBytes, j));
    });
  }
}

// The sums of the vectors [kBegin, kBegin + kCount) of each unit, for every 32 columns of the
// group.
template <typename Dot, typename F, int R, int C, int kBegin, int kCount>
INHOUSE_INLINE void SumGroup(const std::byte* codes, const std::byte* x,
                             typename Dot::template Tile<R, C>& tile) {
  for (int part = 0; part < F::kColumns / 32; ++part) {
    Unroll<kCount>([&](auto i) INHOUSE_INLINE_LAMBDA {
      constexpr Int<kBegin + decltype(i)::value> j;
      int8x16_t w[Size(C)];
      Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
        w[c] = F::Code::Get(codes + c * F::Code::kUnitBytes, j);
      });
      Dot::template Add<R, C>(w, j, x, tile);
    });
    codes += kUnits * F::Code::kUnitBytes;
    x += 32 * Dot::kPlanes * R;
  }
}

// sums[r][4u..] += the products of one group, for R rows and the units u0 .. u0 + C - 1.
template <typename Dot, typename F, int R, int C>
INHOUSE_INLINE void AddGroup(const std::byte* block, int g, int u0, const std::byte* x,
                             float* sums) {
  using Strip = GroupStrip<F::kColumns, Dot::kPlanes, Dot::kWordBytes>;
  const std::byte* codes = F::Codes(block, g) + u0 * F::Code::kUnitBytes;
  float32x4_t total[Size(R)][Size(C)];
  Unroll<F::kHalves>([&](auto half) INHOUSE_INLINE_LAMBDA {
    constexpr int kCount = kUnitVectors / F::kHalves;
    typename Dot::template Tile<R, C> tile;
    tile.Clear();
    SumGroup<Dot, F, R, C, decltype(half)::value * kCount, kCount>(codes, x, tile);
    Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
      const float32x4_t scale = F::Scale(block, g, half, u0 + c);
      Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
        const float32x4_t sum = vcvtq_f32_s32(Dot::template Sum<R, C>(tile, r, c));
        total[r][c] = half == 0 ? vmulq_f32(sum, scale) : vfmaq_f32(total[r][c], sum, scale);
      });
    });
  });
  const auto* scales = reinterpret_cast<const float*>(x + Strip::kScaleAt * R);
  const auto* scaled_sums = reinterpret_cast<const float*>(x + Strip::kScaledSumAt * R);
  Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
    float32x4_t min;
    if constexpr (F::kMin) min = F::Min(block, g, u0 + c);
    Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
      float* to = sums + r * kPanelRows + 4 * (u0 + c);
      float32x4_t sum = vld1q_f32(to);
      if constexpr (F::kMin) sum = vfmaq_n_f32(sum, min, scaled_sums[r]);
      vst1q_f32(to, vfmaq_n_f32(sum, total[r][c], scales[r]));
    });
  });
}

// The first `count` groups of `panel`.
template <typename Dot, typename F, int R>
[[gnu::noinline]] void RunGroups(const std::byte* panel, int64_t count, const std::byte* x,
                                 float* sums) {
  constexpr int C = Dot::Columns(R);
  for (int64_t i = 0; i < count; ++i) {
    const std::byte* block = panel + i / F::kBlockGroups * F::kBlockBytes;
    const int g = static_cast<int>(i % F::kBlockGroups);
    for (int u0 = 0; u0 < kUnits; u0 += C) AddGroup<Dot, F, R, C>(block, g, u0, x, sums);
    x += GroupStrip<F::kColumns, Dot::kPlanes, Dot::kWordBytes>::kRowBytes * R;
  }
}

// By the number of rows, rounded up as the strip is.
template <typename Dot, typename F, int R = kStripRows>
inline void RunGroupRows(int64_t rows, const std::byte* panel, int64_t count, const std::byte* x,
                         float* sums) {
  if constexpr (R > Dot::kRowUnit) {
    if (rows <= R - Dot::kRowUnit) {
      return RunGroupRows<Dot, F, R - Dot::kRowUnit>(rows, panel, count, x, sums);
    }
  }
  RunGroups<Dot, F, R>(panel, count, x, sums);
}

template <typename Dot, typename F>
struct GroupKernel {
  using Strip = GroupStrip<F::kColumns, Dot::kPlanes, Dot::kWordBytes>;
  using Wide = Expanded<F::kColumns, F::kHalves, F::kMin>;
  // Bytes with plain scales are as good as expanded.
  static constexpr bool kInPlace = F::Code::kUnitBytes == ByteCodes::kUnitBytes;
  static constexpr int64_t kChunkGroups = 512 / F::kColumns;  // 16 KiB of codes, in L1

  static int64_t Blocks(int64_t k) { return DivideUp(k, F::kColumns * F::kBlockGroups); }
  static int64_t PanelBytes(int64_t k) { return RoundUp(Blocks(k) * F::kBlockBytes, 64); }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return kInPlace ? 0 : kChunkGroups * Wide::kBlockBytes;
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int64_t block = 0; block < Blocks(k); ++block) {
      for (int i = 0; i < n_rows; ++i) {
        F::Pack(rows[i] + block * F::kStoredBytes, i, panel + block * F::kBlockBytes);
      }
    }
  }

  // The groups [begin, begin + count) of every strip; `panel`, of format G, stands at `begin`.
  template <typename G>
  static void RunStrips(const PanelProduct& p, const std::byte* panel, int64_t begin,
                        int64_t count) {
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      const std::byte* x = p.x + m0 / kStripRows * Strip::Bytes(p.k) +
                           begin * Strip::kRowBytes * RoundUp(rows, Dot::kRowUnit);
      Sums sums;
      sums.Load(p, m0, rows, begin == 0);
      RunGroupRows<Dot, G>(rows, panel, count, x, sums.at);
      sums.Store(p, m0, rows);
    }
  }

  static void Run(const PanelProduct& p) {
    const int64_t groups = DivideUp(p.k, F::kColumns);
    if (kInPlace || p.m <= kStripRows) return RunStrips<F>(p, p.panel, 0, groups);
    for (int64_t begin = 0; begin < groups; begin += kChunkGroups) {
      const int64_t count = groups - begin < kChunkGroups ? groups - begin : kChunkGroups;
      for (int64_t i = 0; i < count; ++i) {
        const int64_t g = begin + i;
        ExpandGroup<F>(p.panel + g / F::kBlockGroups * F::kBlockBytes,
                       static_cast<int>(g % F::kBlockGroups), p.scratch + i * Wide::kBlockBytes);
      }
      RunStrips<Wide>(p, p.scratch, begin, count);
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = Strip::kLayout,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = Strip::Bytes,
            .pack_strip = Strip::Pack,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
