// F32, F16 and BF16 weights with float activations: exact decoding, FP32 FMA. For avx2.cc only.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_pack.h"
#include "engine/kernels/matmul/avx2_strips.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

// Columns after which the other half of the panel has its turn: both stay in L1 meanwhile.
constexpr int64_t kBlock = 128;
// How far ahead x is fetched, in bytes.
constexpr int64_t kAheadX = 2048;
// Columns after which the next strip has its turn: 128 KiB of a BF16 panel stay in L2 meanwhile,
// and beside it what a strip has of x.
constexpr int64_t kPart = 2048;

// How one k-step of a panel becomes floats. A step has kColumns columns of kPanelRows rows.

struct F32Weights {  // [k][32]
  static constexpr int kColumns = 1;
  static constexpr int64_t kStepBytes = kPanelRows * 4;
  static __m256 Load(const std::byte* step, int /*column*/, int vector) {
    return _mm256_load_ps(reinterpret_cast<const float*>(step) + 8 * vector);
  }
  static void Pack(const Rows& rows, int64_t k, std::byte* panel) {
    CopyRows(rows, 4 * k, k, panel, CopyWords);
  }
};

struct F16Weights {  // [k][32], in pairs
  static constexpr int kColumns = 2;
  static constexpr int64_t kStepBytes = kPanelRows * 4;
  static __m256 Load(const std::byte* step, int column, int vector) {
    return LoadHalfs(step + column * (kStepBytes / 2) + 16 * vector);
  }
  static void Pack(const Rows& rows, int64_t k, std::byte* panel) {
    CopyRows(rows, 2 * k, (k + 1) / 2, panel, CopyHalfWords);
  }
};

struct BF16Weights {  // [k / 2][32][2]: a shift gives the even column, a mask the odd one
  static constexpr int kColumns = 2;
  static constexpr int64_t kStepBytes = kPanelRows * 4;
  static __m256 Load(const std::byte* step, int column, int vector) {
    const __m256i pair = _mm256_load_si256(reinterpret_cast<const __m256i*>(step) + vector);
    return _mm256_castsi256_ps(column == 0 ? _mm256_slli_epi32(pair, 16)
                                           : _mm256_and_si256(pair, _mm256_set1_epi32(-0x10000)));
  }
  static void Pack(const Rows& rows, int64_t k, std::byte* panel) {
    CopyRows(rows, 2 * k, (k + 1) / 2, panel, CopyWords);
  }
};

template <int R, int C>
using Tile = __m256[static_cast<size_t>(R)][static_cast<size_t>(C)];
template <int N>
using Row = __m256[static_cast<size_t>(N)];

// acc += a b. From the intrinsic GCC 12 makes forms that overwrite `a`, and then spills five of the
// twelve accumulators of a tile.
[[gnu::always_inline]] inline void AddProduct(__m256 a, __m256 b, __m256& acc) {
  asm("vfmadd231ps %2, %1, %0" : "+x"(acc) : "x"(a), "x"(b));
}

// acc[r][c] += the products of `steps` steps with the vector c0 + c, one multiply-add after the
// other along k; x is [k][R].
template <typename W, int R, int C, int64_t kAhead = kPrefetchBytes>
[[gnu::always_inline]] inline void Accumulate(const std::byte* w, int c0, const float* x,
                                              int64_t steps, Tile<R, C>& acc) {
  for (int64_t s = 0; s < steps; ++s) {
    if constexpr (kAhead != 0) {
      constexpr int64_t kPart = W::kStepBytes / kPanelVectors;
      Prefetch<kPart * C>(w + kPart * c0 + kAhead);
      // x of many strips comes from L3, and the hardware stops at the end of every 4 KiB.
      if constexpr (R > 3) {
        if (c0 == 0) Prefetch<64>(reinterpret_cast<const std::byte*>(x) + kAheadX);
      }
    }
#pragma GCC unroll 2
    for (int j = 0; j < W::kColumns; ++j) {
      if constexpr (R < C) {  // fewer registers hold all of x than all of w
        Row<R> a;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) a[r] = _mm256_broadcast_ss(x + j * R + r);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const __m256 b = W::Load(w, j, c0 + c);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) AddProduct(a[r], b, acc[r][c]);
        }
      } else {
        Row<C> b;
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) b[c] = W::Load(w, j, c0 + c);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const __m256 a = _mm256_broadcast_ss(x + j * R + r);
#pragma GCC unroll 8
          for (int c = 0; c < C; ++c) AddProduct(a, b[c], acc[r][c]);
        }
      }
    }
    w += W::kStepBytes;
    x += W::kColumns * R;
  }
}

// Continues the sums of R rows and C vectors, from c0 on, that stand in `sums` [R][32].
template <typename W, int R, int C>
void AddSteps(const std::byte* w, int c0, const float* x, int64_t steps, float* sums) {
  sums += 8 * c0;
  Tile<R, C> acc;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) acc[r][c] = _mm256_load_ps(sums + r * kPanelRows + 8 * c);
  }
  Accumulate<W, R, C>(w, c0, x, steps, acc);
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) _mm256_store_ps(sums + r * kPanelRows + 8 * c, acc[r][c]);
  }
}

// Continues the sums of a strip of R rows. Up to three rows take the panel in one sequential
// stream; more rows take half its width at a time, in blocks that stay in L1. Inlined into their
// caller, GCC 12 spills accumulators of these loops: BF16 reaches 0.84 of the peak then, else 0.97
// (Zen 5, 6 to 512 rows).
template <typename W, int R>
[[gnu::noinline]] void RunStrip(const std::byte* panel, const float* x, int64_t steps,
                                float* sums) {
  if constexpr (R <= 3) {
    AddSteps<W, R, kPanelVectors>(panel, 0, x, steps, sums);
  } else {
    constexpr int C = kPanelVectors / 2;
    constexpr int64_t kBlockSteps = kBlock / W::kColumns;
    for (int64_t s = 0; s < steps; s += kBlockSteps) {
      const int64_t n = steps - s < kBlockSteps ? steps - s : kBlockSteps;
      const std::byte* w = panel + s * W::kStepBytes;
      const float* xs = x + s * W::kColumns * R;
      AddSteps<W, R, C>(w, 0, xs, n, sums);
      AddSteps<W, R, C>(w, C, xs, n, sums);
    }
  }
}

template <typename W>
void RunRows(int64_t rows, const std::byte* panel, const float* x, int64_t steps, float* sums) {
  switch (rows) {
    case 1:
      return RunStrip<W, 1>(panel, x, steps, sums);
    case 2:
      return RunStrip<W, 2>(panel, x, steps, sums);
    case 3:
      return RunStrip<W, 3>(panel, x, steps, sums);
    case 4:
      return RunStrip<W, 4>(panel, x, steps, sums);
    case 5:
      return RunStrip<W, 5>(panel, x, steps, sums);
    default:
      return RunStrip<W, 6>(panel, x, steps, sums);
  }
}

template <typename W>
struct FloatKernel {
  static int64_t Steps(int64_t k) { return (k + W::kColumns - 1) / W::kColumns; }
  static int64_t PanelBytes(int64_t k) { return Steps(k) * W::kStepBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    W::Pack(Rows(rows, n_rows), k, panel);
  }

  static int64_t ScratchBytes(int64_t /*k*/) {
    return kChunkStrips * kStripSums * static_cast<int64_t>(sizeof(float));
  }

  static void Run(const PanelProduct& p) { RunPanel(p, p.panel, p.scratch); }

  // The product of `p` with a panel that may stand elsewhere.
  static void RunPanel(const PanelProduct& p, const std::byte* panel, std::byte* scratch) {
    constexpr int64_t kRows = kChunkStrips * kStripRows;
    auto* sums = reinterpret_cast<float*>(scratch);
    for (int64_t m = 0; m < p.m; m += kRows) {
      Chunk(p, m, p.m - m < kRows ? p.m : m + kRows, panel, sums);
    }
  }

  // The rows [m0, m1), at most kChunkStrips strips.
  static void Chunk(const PanelProduct& p, int64_t m0, int64_t m1, const std::byte* panel,
                    float* sums) {
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>((m1 - m0) * kPanelRows));
    constexpr int64_t kPartSteps = kPart / W::kColumns;
    for (int64_t step = 0; step < Steps(p.k); step += kPartSteps) {
      const int64_t steps = Steps(p.k) - step < kPartSteps ? Steps(p.k) - step : kPartSteps;
      for (int64_t m = m0; m < m1; m += kStripRows) {
        const int64_t rows = m1 - m < kStripRows ? m1 - m : kStripRows;
        const auto* x = reinterpret_cast<const float*>(p.x + m / kStripRows * FloatStripBytes(p.k));
        RunRows<W>(rows, panel + step * W::kStepBytes, x + step * W::kColumns * rows, steps,
                   sums + (m - m0) * kPanelRows);
      }
    }
    StoreRows(p, m0, m1 - m0, sums);
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = ActivationLayout::kF32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = FloatStripBytes,
            .pack_strip = PackFloatStrip,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
