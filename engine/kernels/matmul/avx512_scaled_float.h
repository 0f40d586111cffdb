// Float products of weights whose groups of columns have scales: FP8 with block scales.
//
// A panel is a sequence of groups: float32 scales of the 32 rows, then steps as in avx512_float.h.
// The products of a group are summed in one chain from zero, then scale * sum is added to the
// element's total: one chain of groups, whatever the number of rows.
#pragma once

#include "engine/kernels/matmul/avx512_float.h"

namespace inhouse::engine {
namespace {

constexpr int kScaleBytes = 32 * 4;

template <typename W, typename Op, int kSubsteps>
struct ScaledTiles {
  static constexpr int kMax = 6;
  static constexpr int kSteps = kSubsteps / W::kSub;  // of a group
  static constexpr int kGroupBytes = kScaleBytes + kSteps * W::kStepBytes;

  template <int kRows>
  static void Run(const Tile& t) {
    Accumulators<kRows> total;
    LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, total);
    const std::byte* group = t.w;
    const uint32_t* x = t.x;
    Ahead ahead = t.ahead;
    for (int64_t g = 0; g < t.steps; ++g, group += kGroupBytes) {
      Accumulators<kRows> acc;
      Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA { acc.v[i] = _mm512_setzero_ps(); });
      for (int step = 0; step < kSteps; ++step) {
        ahead.FetchTwo();
        AddStep<W, Op, kRows>(group + kScaleBytes + step * W::kStepBytes, x, t.strip, acc);
      }
      const __m512 scale[2] = {_mm512_loadu_ps(group), _mm512_loadu_ps(group + 64)};
      Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA {
        total.v[i] = _mm512_fmadd_ps(acc.v[i], scale[i % 2], total.v[i]);
      });
    }
    StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
  }
};

// W expands a step of codes in registers, again for each tile: with the sums and totals of six rows
// beside it that is quicker than a copy. kColumns is the length of a group.
template <typename W, typename Op, int kWords, int kPad, int kColumns>
struct ScaledFloatProduct {
  static constexpr int kSubsteps = kColumns / kWords;
  using Tiles = ScaledTiles<W, Op, kSubsteps>;
  static constexpr int kGroupBytes = Tiles::kGroupBytes;
  static constexpr int64_t kChunk = 192 / kSubsteps;  // 12 KiB of codes beside 9 KiB of x

  static int64_t Groups(int64_t k) { return (k + kColumns - 1) / kColumns; }
  static int64_t PanelBytes(int64_t k) { return Groups(k) * kGroupBytes; }
  static int64_t StripWords(int64_t k) { return RoundUp(k, kPad) / kWords * kStripRows; }
  static int64_t ScratchBytes(int64_t /*k*/) { return 0; }

  static void Run(const PanelProduct& p) {
    const int64_t groups = Groups(p.k);
    if (p.m <= Tiles::kMax) return RunWhole<Tiles>(p, groups, W::kStepBytes);
    for (int64_t begin = 0; begin < groups; begin += kChunk) {
      const int64_t count = groups - begin < kChunk ? groups - begin : kChunk;
      const std::byte* w = p.panel + begin * kGroupBytes;
      RunTiles<Tiles>(p,
                      {.w = w,
                       .steps = count,
                       .x_words = begin * kSubsteps,
                       .next = w + count * kGroupBytes,
                       .next_bytes = count * kGroupBytes,
                       .times = count * Tiles::kSteps},
                      StripWords(p.k) * 4);
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
