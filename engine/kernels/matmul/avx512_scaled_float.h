// Float products of weights whose groups of columns have scales: FP8 with block scales.
//
// A panel is a sequence of groups: float32 scales of the 32 rows, then steps as in avx512_float.h.
// The products of a group are summed in one chain from zero, then scale * sum is added to the
// element's total: one chain of groups, whatever the number of rows.
#pragma once

#include "engine/kernels/matmul/avx512_float.h"
#include "engine/kernels/matmul/avx512_tiles.h"

namespace inhouse::engine {
namespace {

constexpr int kScaleBytes = 32 * 4;

// Some rows of a strip.
struct ScaledTile {
  const std::byte* w;
  int64_t groups;
  const uint32_t* x;  // the first row of the tile in the strip's first substep
  int64_t strip;      // rows of the strip: words between a word of x and the next
  float* y;           // [rows][ldy]
  int64_t ldy;
  RowMask mask;
  bool first;   // start from zero, else from y
  Ahead ahead;  // of the panel, for each step of this tile
};

template <typename W, typename Op, int kSubsteps, int kRows>
void RunScaled(const ScaledTile& t) {
  Accumulators<kRows> total;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, total);
  const std::byte* w = t.w;
  const uint32_t* x = t.x;
  Ahead ahead = t.ahead;
  for (int64_t g = 0; g < t.groups; ++g) {
    const std::byte* const scales = w;
    w += kScaleBytes;
    Accumulators<kRows> acc;
    Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA { acc.v[i] = _mm512_setzero_ps(); });
    for (int step = 0; step < kSubsteps / W::kSub; ++step, w += W::kStepBytes) {
      __m512i v[2 * W::kSub];
      W::Expand(w, v);
      ahead.FetchTwo();
      Unroll<W::kSub>([&](auto s) INHOUSE_INLINE_LAMBDA {
        Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
          const __m512i b = Broadcast(x + m);
          acc.v[2 * m] = Op::Add(acc.v[2 * m], v[2 * s], b);
          acc.v[2 * m + 1] = Op::Add(acc.v[2 * m + 1], v[2 * s + 1], b);
        });
        x += t.strip;
      });
    }
    const __m512 scale[2] = {_mm512_loadu_ps(scales), _mm512_loadu_ps(scales + 64)};
    Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA {
      total.v[i] = _mm512_fmadd_ps(acc.v[i], scale[i % 2], total.v[i]);
    });
  }
  StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
}

// By the number of rows, 1..kMax.
template <typename W, typename Op, int kSubsteps, int kMax>
struct ScaledTiles {
  using Function = void (*)(const ScaledTile&);
  Function of[static_cast<size_t>(kMax + 1)];
  constexpr ScaledTiles() : of{} { Fill<1>(); }
  template <int kRows>
  constexpr void Fill() {
    of[kRows] = RunScaled<W, Op, kSubsteps, kRows>;
    if constexpr (kRows < kMax) Fill<kRows + 1>();
  }
};

// W expands a step of codes in registers, again for each tile: with the sums and totals of six rows
// beside it that is quicker than a copy. kColumns is the length of a group.
template <typename W, typename Op, int kWords, int kPad, int kColumns>
struct ScaledFloatProduct {
  static constexpr int kSubsteps = kColumns / kWords;
  static constexpr int kGroupBytes = kScaleBytes + kSubsteps / W::kSub * W::kStepBytes;
  static constexpr int kTileRows = 6;
  static constexpr int64_t kChunk = 192 / kSubsteps;  // 12 KiB of codes beside 9 KiB of x

  static int64_t Groups(int64_t k) { return (k + kColumns - 1) / kColumns; }
  static int64_t PanelBytes(int64_t k) { return Groups(k) * kGroupBytes; }
  static int64_t StripWords(int64_t k) { return RoundUp(k, kPad) / kWords * kStripRows; }
  static int64_t ScratchBytes(int64_t /*k*/) { return 0; }

  static void Run(const PanelProduct& p) {
    const auto* x = reinterpret_cast<const uint32_t*>(p.x);
    const int64_t groups = Groups(p.k);
    if (p.m <= kTileRows) {
      kTiles.of[p.m]({.w = p.panel,
                      .groups = groups,
                      .x = x,
                      .strip = p.m,
                      .y = p.y,
                      .ldy = p.ldy,
                      .mask = MaskOf(p.n_rows),
                      .first = true,
                      .ahead = {p.panel + kDirectAhead, W::kStepBytes}});
      return;
    }
    for (int64_t begin = 0; begin < groups; begin += kChunk) {
      RunChunk(p, begin, groups - begin < kChunk ? groups - begin : kChunk);
    }
  }

 private:
  static constexpr ScaledTiles<W, Op, kSubsteps, kTileRows> kTiles{};

  static void RunChunk(const PanelProduct& p, int64_t begin, int64_t count) {
    const std::byte* w = p.panel + begin * kGroupBytes;
    FetchShare fetch(w + count * kGroupBytes, count * kGroupBytes, count * (kSubsteps / W::kSub),
                     CeilDiv(p.m, kTileRows));
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const TileCut cut(p.m - m0 < kStripRows ? p.m - m0 : kStripRows, kTileRows);
      const uint32_t* strip = reinterpret_cast<const uint32_t*>(p.x) +
                              m0 / kStripRows * StripWords(p.k) + begin * kSubsteps * cut.rows;
      for (int64_t i = 0; i < cut.tiles; ++i) {
        const int64_t row = cut.begin(i);
        kTiles.of[cut.begin(i + 1) - row]({.w = w,
                                           .groups = count,
                                           .x = strip + row,
                                           .strip = cut.rows,
                                           .y = p.y + (m0 + row) * p.ldy,
                                           .ldy = p.ldy,
                                           .mask = MaskOf(p.n_rows),
                                           .first = begin == 0,
                                           .ahead = fetch.Next()});
      }
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
