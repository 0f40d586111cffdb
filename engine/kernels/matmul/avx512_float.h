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

// Some rows of a strip.
struct FloatTile {
  const std::byte* w;
  int64_t steps;
  const uint32_t* x;  // the first row of the tile in the strip's first substep
  int64_t strip;      // rows of the strip: words between a word of x and the next
  float* y;           // [rows][ldy]
  int64_t ldy;
  RowMask mask;
  bool first;   // start from zero, else from y
  Ahead ahead;  // of the panel, for each step
};

template <typename W, typename Op, int kRows>
void RunTile(const FloatTile& t) {
  Accumulators<kRows> acc;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, acc);
  const std::byte* w = t.w;
  const uint32_t* x = t.x;
  const std::byte* const end = w + t.steps * W::kStepBytes;
  Ahead ahead = t.ahead;
  for (; w != end; w += W::kStepBytes) {
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
  StoreAccumulators<kRows>(t.y, t.ldy, t.mask, acc);
}

using FloatTileFunction = void (*)(const FloatTile&);

// By the number of rows, 1..kMax.
template <typename W, typename Op, int kMax>
struct FloatTiles {
  FloatTileFunction of[static_cast<size_t>(kMax + 1)];
  constexpr FloatTiles() : of{} { Fill<1>(); }
  template <int kRows>
  constexpr void Fill() {
    of[kRows] = RunTile<W, Op, kRows>;
    if constexpr (kRows < kMax) Fill<kRows + 1>();
  }
};

// A weight format: W expands it in registers, again for each tile. kWords is the number of columns
// in a 32-bit word of x, kPad the columns that a strip of x is padded to: the same for all formats
// that share one packed x.
template <typename W, typename Op, int kWords, int kPad>
struct FloatProduct {
  static constexpr bool kIsPlain = W::kSub == 1 && W::kStepBytes == 128;
  // What is expanded needs registers, and shorter tiles cost it nothing.
  static constexpr int kTileRows = kIsPlain ? kStripRows : 6;
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
    if (p.m <= kTileRows) {
      kTiles.of[p.m]({.w = p.panel,
                      .steps = steps,
                      .x = reinterpret_cast<const uint32_t*>(p.x),
                      .strip = p.m,
                      .y = p.y,
                      .ldy = p.ldy,
                      .mask = MaskOf(p.n_rows),
                      .first = true,
                      .ahead = {p.panel + kDirectAhead, W::kStepBytes}});
      return;
    }
    for (int64_t begin = 0; begin < steps; begin += kChunk) {
      RunChunk(p, begin, steps - begin < kChunk ? steps - begin : kChunk);
    }
  }

 private:
  static constexpr FloatTiles<W, Op, kTileRows> kTiles{};

  static void RunChunk(const PanelProduct& p, int64_t begin, int64_t count) {
    const std::byte* w = p.panel + begin * W::kStepBytes;
    FetchShare fetch(w + count * W::kStepBytes, count * W::kStepBytes, count,
                     CeilDiv(p.m, kTileRows));
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const TileCut cut(p.m - m0 < kStripRows ? p.m - m0 : kStripRows, kTileRows);
      const uint32_t* strip = reinterpret_cast<const uint32_t*>(p.x) +
                              m0 / kStripRows * StripWords(p.k) + begin * W::kSub * cut.rows;
      for (int64_t i = 0; i < cut.tiles; ++i) {
        const int64_t row = cut.begin(i);
        kTiles.of[cut.begin(i + 1) - row]({.w = w,
                                           .steps = count,
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
