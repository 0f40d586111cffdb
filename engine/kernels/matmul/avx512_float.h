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

struct FloatTile {
  const std::byte* w;
  int64_t steps;
  const uint32_t* x;  // [steps * kSub][rows]
  float* y;           // [rows][ldy]
  int64_t ldy;
  RowMask mask;
  bool first;                 // start from zero, else from y
  const std::byte* prefetch;  // what is needed next, or null
  int64_t prefetch_step;      // bytes of it for each step of this tile: 64 or 128
};

template <typename W, typename Op, int kRows>
void RunTile(const FloatTile& t) {
  Accumulators<kRows> acc;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, acc);
  const std::byte* w = t.w;
  const uint32_t* x = t.x;
  const std::byte* const end = w + t.steps * W::kStepBytes;
  const std::byte* ahead = t.prefetch;
  for (; w != end; w += W::kStepBytes) {
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

// Expands `steps` steps into scratch as WeightsPlain.
template <typename W>
inline void ExpandBlock(const std::byte* panel, int64_t steps, std::byte* out) {
  for (int64_t i = 0; i < steps; ++i) {
    __m512i v[2 * W::kSub];
    W::Expand(panel + i * W::kStepBytes, v);
    Unroll<2 * W::kSub>([&](auto j)
                            INHOUSE_INLINE_LAMBDA { _mm512_store_si512(out + 64 * j, v[j]); });
    out += 128 * W::kSub;
  }
}

// A weight format: W expands it in registers for few rows; for more, a block of columns is expanded
// once into scratch that stays in the first-level cache and is used by all strips. kWords is the
// number of columns in a 32-bit word of x, kPad the columns that a strip of x is padded to: the
// same for all formats that share one packed x.
template <typename W, typename Op, int kWords, int kPad>
struct FloatProduct {
  static constexpr bool kIsPlain = W::kSub == 1 && W::kStepBytes == 128;
  static constexpr int kDirectRows = kIsPlain ? kStripRows : 6;
  static constexpr int64_t kBlockSubsteps = 192;  // 24 KiB of weights beside 9 KiB of x

  static int64_t Substeps(int64_t k) { return RoundUp(k, kWords * W::kSub) / kWords; }
  static int64_t PanelBytes(int64_t k) {
    return RoundUp(Substeps(k) / W::kSub * W::kStepBytes, 64);
  }
  static int64_t StripWords(int64_t k) { return RoundUp(k, kPad) / kWords * kStripRows; }
  static int64_t StripBytes(int64_t k) { return StripWords(k) * 4; }
  static int64_t ScratchBytes(int64_t /*k*/) { return kIsPlain ? 0 : kBlockSubsteps * 128; }

  static void Run(const PanelProduct& p) {
    const auto* x = reinterpret_cast<const uint32_t*>(p.x);
    const int64_t steps = Substeps(p.k) / W::kSub;
    if (p.m <= kDirectRows) {
      static constexpr FloatTiles<W, Op, kDirectRows> kTiles;
      kTiles.of[p.m]({p.panel, steps, x, p.y, p.ldy, MaskOf(p.n_rows), true, nullptr, 0});
      return;
    }
    constexpr int64_t kBlock = kBlockSubsteps / W::kSub;
    for (int64_t begin = 0; begin < steps; begin += kBlock) {
      const int64_t count = steps - begin < kBlock ? steps - begin : kBlock;
      RunBlock(p, begin, count, x, steps - begin > kBlock);
    }
  }

 private:
  static void RunBlock(const PanelProduct& p, int64_t begin, int64_t count, const uint32_t* x,
                       bool more) {
    static constexpr FloatTiles<WeightsPlain, Op, kStripRows> kTiles;
    const std::byte* w = p.panel + begin * W::kStepBytes;
    // The next block is on its way from memory while this one is used.
    const std::byte* next = more ? w + count * W::kStepBytes : nullptr;
    if constexpr (!kIsPlain) {
      ExpandBlock<W>(w, count, p.scratch);
      w = p.scratch;
    }
    for (int64_t m = 0; m < p.m; m += kStripRows) {
      const int rows = static_cast<int>(p.m - m < kStripRows ? p.m - m : kStripRows);
      const uint32_t* strip = x + m / kStripRows * StripWords(p.k) + begin * W::kSub * rows;
      kTiles.of[rows]({w, count * W::kSub, strip, p.y + m * p.ldy, p.ldy, MaskOf(p.n_rows),
                       begin == 0, m == 0 ? next : nullptr, W::kStepBytes / W::kSub});
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
