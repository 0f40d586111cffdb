// Products whose accumulators are floats: F32, F16, BF16 and FP8 weights.
//
// A panel is a sequence of steps; a step holds 32 rows x a few columns. A weight policy W expands
// one step into W::kSub pairs of registers (16 + 16 rows); each pair is multiplied with one 32-bit
// word per activation row (a float, or two BF16) by the operation Op. x is packed as
// [substep][rows of the strip] words.
//
// Each element of y has one accumulator that takes the substeps in order, whatever the number of
// rows: splitting the columns into blocks stores it to y and loads it again, which is exact.
#pragma once

#include "engine/kernels/matmul/avx512_tiles.h"
#include "engine/kernels/matmul/avx512_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {
namespace {

struct OpFma {  // w: 16 floats, x: one float
  static INHOUSE_INLINE __m512 Add(__m512 acc, __m512i w, __m512i x) {
    return _mm512_fmadd_ps(_mm512_castsi512_ps(w), _mm512_castsi512_ps(x), acc);
  }
};

// A step as it lies in memory: 128 bytes, one substep.
struct WeightsPlain {
  static constexpr int kSub = 1;
  static constexpr int kStepBytes = 128;
  static INHOUSE_INLINE void Expand(const std::byte* p, __m512i (&w)[2]) {
    w[0] = Load(p);
    w[1] = Load(p + 64);
  }
};

// acc += the products of a step; x moves on.
template <typename W, typename Op, int kRows>
INHOUSE_INLINE void AddStep(const std::byte* w, const uint32_t*& x, int64_t strip,
                            Accumulators<kRows>& acc) {
  __m512i v[2 * W::kSub];
  W::Expand(w, v);
  Unroll<W::kSub>([&](auto s) INHOUSE_INLINE_LAMBDA {
    Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
      const __m512i b = Broadcast(x + m);
      acc.v[2 * m] = Op::Add(acc.v[2 * m], v[2 * s], b);
      acc.v[2 * m + 1] = Op::Add(acc.v[2 * m + 1], v[2 * s + 1], b);
    });
    x += strip;
  });
}

template <typename W, typename Op>
struct FloatTiles {
  static constexpr bool kIsPlain = W::kSub == 1 && W::kStepBytes == 128;
  // What is expanded needs registers, and shorter tiles cost it nothing.
  static constexpr int kMax = kIsPlain ? kStripRows : 6;

  template <int kRows>
  static void Run(const Tile& t) {
    Accumulators<kRows> acc;
    LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, acc);
    const std::byte* w = t.w;
    const uint32_t* x = t.x;
    const std::byte* const end = w + t.steps * W::kStepBytes;
    Ahead ahead = t.ahead;
    for (; w != end; w += W::kStepBytes) {
      ahead.FetchTwo();
      AddStep<W, Op, kRows>(w, x, t.strip, acc);
    }
    StoreAccumulators<kRows>(t.y, t.ldy, t.mask, acc);
  }
};

// A weight format: W expands it in registers, again for each tile. kWords is the number of columns
// in a 32-bit word of x, kPad the columns that a strip of x is padded to: the same for all formats
// that share one packed x.
template <typename W, typename Op, int kWords, int kPad>
struct FloatProduct {
  using Tiles = FloatTiles<W, Op>;
  static constexpr int64_t kChunk = 192 / W::kSub;  // steps: 24 KiB of weights beside 9 KiB of x

  static int64_t Substeps(int64_t k) { return RoundUp(k, kWords * W::kSub) / kWords; }
  static int64_t PanelBytes(int64_t k) {
    return RoundUp(Substeps(k) / W::kSub * W::kStepBytes, 64);
  }
  static int64_t StripWords(int64_t k) { return RoundUp(k, kPad) / kWords * kStripRows; }
  static int64_t StripBytes(int64_t k) { return StripWords(k) * 4; }
  static int64_t ScratchBytes(int64_t /*k*/) { return 0; }

  static void Run(const PanelProduct& p) {
    const int64_t steps = Substeps(p.k) / W::kSub;
    if (p.m <= Tiles::kMax) return RunWhole<Tiles>(p, steps, W::kStepBytes);
    for (int64_t begin = 0; begin < steps; begin += kChunk) {
      const int64_t count = steps - begin < kChunk ? steps - begin : kChunk;
      const std::byte* w = p.panel + begin * W::kStepBytes;
      RunTiles<Tiles>(p,
                      {.w = w,
                       .steps = count,
                       .x_words = begin * W::kSub,
                       .next = w + count * W::kStepBytes,
                       .next_bytes = count * W::kStepBytes,
                       .times = count},
                      StripBytes(p.k));
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
