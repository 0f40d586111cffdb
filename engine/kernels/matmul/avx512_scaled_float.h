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

struct ScaledTile {
  const std::byte* w;
  int64_t groups;
  const uint32_t* x;  // [groups * substeps][rows]
  float* y;           // [rows][ldy]
  int64_t ldy;
  RowMask mask;
  bool first;                 // start from zero, else from y
  const std::byte* prefetch;  // what is needed next, or null
  int64_t prefetch_step;      // bytes of it for each step of this tile: 64 or 128
};

template <typename W, typename Op, int kSubsteps, int kRows>
void RunScaled(const ScaledTile& t) {
  alignas(64) float totals[static_cast<size_t>(32 * kRows)];
  LoadTotals<kRows>(t.y, t.ldy, t.mask, t.first, totals);
  const std::byte* w = t.w;
  const uint32_t* x = t.x;
  const std::byte* ahead = t.prefetch;
  for (int64_t g = 0; g < t.groups; ++g) {
    const __m512 scale[2] = {_mm512_loadu_ps(w), _mm512_loadu_ps(w + 64)};
    w += kScaleBytes;
    Accumulators<kRows> acc;
    Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA { acc.v[i] = _mm512_setzero_ps(); });
    for (int step = 0; step < kSubsteps / W::kSub; ++step, w += W::kStepBytes) {
      __m512i v[2 * W::kSub];
      W::Expand(w, v);
      if (ahead != nullptr) {
        Prefetch(ahead);
        Prefetch(ahead + t.prefetch_step - 64);
        ahead += t.prefetch_step;
      }
      Unroll<W::kSub>([&](auto s) INHOUSE_INLINE_LAMBDA {
        Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
          const __m512i b = Broadcast(x + s * kRows + m);
          acc.v[2 * m] = Op::Add(acc.v[2 * m], v[2 * s], b);
          acc.v[2 * m + 1] = Op::Add(acc.v[2 * m + 1], v[2 * s + 1], b);
        });
      });
      x += W::kSub * kRows;
    }
    Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA {
      float* to = totals + 16 * i;
      _mm512_store_ps(to, _mm512_fmadd_ps(acc.v[i], scale[i % 2], _mm512_load_ps(to)));
    });
  }
  StoreTotals<kRows>(t.y, t.ldy, t.mask, totals);
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

// W expands a step of codes; for many rows some groups at a time are expanded into scratch, in the
// same layout with plain steps. kColumns is the length of a group.
template <typename W, typename Op, int kWords, int kPad, int kColumns>
struct ScaledFloatProduct {
  static constexpr int kSubsteps = kColumns / kWords;
  static constexpr int kGroupBytes = kScaleBytes + kSubsteps / W::kSub * W::kStepBytes;
  static constexpr int kPlainBytes = kScaleBytes + kSubsteps * 128;
  static constexpr int kDirectRows = 6;
  static constexpr int64_t kChunk = 192 / kSubsteps;  // 24 KiB of weights beside 9 KiB of x

  static int64_t Groups(int64_t k) { return (k + kColumns - 1) / kColumns; }
  static int64_t PanelBytes(int64_t k) { return Groups(k) * kGroupBytes; }
  static int64_t StripWords(int64_t k) { return RoundUp(k, kPad) / kWords * kStripRows; }
  static int64_t ScratchBytes(int64_t /*k*/) { return kChunk * kPlainBytes; }

  static void Run(const PanelProduct& p) {
    const auto* x = reinterpret_cast<const uint32_t*>(p.x);
    const int64_t groups = Groups(p.k);
    if (p.m <= kDirectRows) {
      static constexpr ScaledTiles<W, Op, kSubsteps, kDirectRows> kTiles;
      kTiles.of[p.m]({p.panel, groups, x, p.y, p.ldy, MaskOf(p.n_rows), true,
                      p.panel + kDirectAhead, W::kStepBytes});
      return;
    }
    for (int64_t begin = 0; begin < groups; begin += kChunk) {
      RunChunk(p, begin, groups - begin < kChunk ? groups - begin : kChunk,
               groups - begin > kChunk);
    }
  }

 private:
  static void RunChunk(const PanelProduct& p, int64_t begin, int64_t count, bool more) {
    static constexpr ScaledTiles<WeightsPlain, Op, kSubsteps, kStripRows> kTiles;
    const std::byte* w = p.panel + begin * kGroupBytes;
    const std::byte* next = more ? w + count * kGroupBytes : nullptr;
    for (int64_t g = 0; g < count; ++g) {
      std::byte* out = p.scratch + g * kPlainBytes;
      __builtin_memcpy(out, w + g * kGroupBytes, kScaleBytes);
      ExpandBlock<W>(w + g * kGroupBytes + kScaleBytes, kSubsteps / W::kSub, out + kScaleBytes);
    }
    for (int64_t m = 0; m < p.m; m += kStripRows) {
      const int64_t rows = p.m - m < kStripRows ? p.m - m : kStripRows;
      const uint32_t* strip = reinterpret_cast<const uint32_t*>(p.x) +
                              m / kStripRows * StripWords(p.k) + begin * kSubsteps * rows;
      kTiles.of[rows]({p.scratch, count, strip, p.y + m * p.ldy, p.ldy, MaskOf(p.n_rows),
                       begin == 0, m == 0 ? next : nullptr, W::kStepBytes / W::kSub});
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
