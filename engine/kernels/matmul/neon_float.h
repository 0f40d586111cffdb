// Weights that become floats (neon_float_weights.h), with float activations: exact decoding, then
// FP32 FMA. For neon.cc only.
//
// Each element of y is one chain of multiply-adds along k. More rows than a strip has share weights
// that are expanded, a chunk of columns at a time, to scratch that stays in L1.
#pragma once

#include "engine/kernels/matmul/neon_float_weights.h"
#include "engine/kernels/matmul/neon_strips.h"

namespace inhouse::engine::neon {
namespace {

// The R floats of one column of x; the bytes after them belong to the strip.
template <int R>
struct Column {
  float32x4_t first;
  float32x2_t last;
  INHOUSE_INLINE explicit Column(const float* x) : first(vld1q_f32(x)) {
    if constexpr (R > 4) last = vld1_f32(x + 4);
  }
  template <int r>
  INHOUSE_INLINE float32x4_t AddProduct(float32x4_t acc, float32x4_t w, Int<r> /*row*/) const {
    if constexpr (r < 4) {
      return vfmaq_laneq_f32(acc, w, first, r);
    } else {
      return vfmaq_lane_f32(acc, w, last, r - 4);
    }
  }
};

// Adds the octets [begin, begin + count) of a panel to the sums of R rows and H halves from
// `half0` on; x stands at the first of them.
template <typename W, int R, int H>
INHOUSE_INLINE void AddOctets(const std::byte* panel, int64_t begin, int64_t count, int half0,
                              const float* x, float* sums) {
  float32x4_t acc[Size(R)][Size(H)][4];
  sums += 16 * half0;
  Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
    Unroll<4 * H>([&](auto c) INHOUSE_INLINE_LAMBDA {
      acc[r][c / 4][c % 4] = vld1q_f32(sums + r * kPanelRows + 4 * c);
    });
  });
  for (int64_t octet = begin; octet < begin + count; ++octet) {
    Unroll<H>([&](auto h) INHOUSE_INLINE_LAMBDA {
      const auto half = W::At(panel, octet, half0 + h);
      Unroll<8>([&](auto j) INHOUSE_INLINE_LAMBDA {
        const Column<R> a(x + j * R);
        FourVectors w;
        W::Get(half, j, w);
        Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
          Unroll<4>([&](auto c) INHOUSE_INLINE_LAMBDA {
            acc[r][h][c] = a.AddProduct(acc[r][h][c], w[c], r);
          });
        });
      });
    });
    x += 8 * R;
  }
  Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
    Unroll<4 * H>([&](auto c) INHOUSE_INLINE_LAMBDA {
      vst1q_f32(sums + r * kPanelRows + 4 * c, acc[r][c / 4][c % 4]);
    });
  });
}

constexpr int64_t kChunkOctets = 16;  // 16 KiB of floats

// One or two rows take the panel in one sequential stream; more rows have accumulators for half of
// it only, and take the halves of a chunk in turn while it is in L1.
template <typename W, int R>
[[gnu::noinline]] void RunOctets(const std::byte* panel, int64_t count, const float* x,
                                 float* sums) {
  if constexpr (R <= 2) {
    AddOctets<W, R, 2>(panel, 0, count, 0, x, sums);
  } else {
    for (int64_t begin = 0; begin < count; begin += kChunkOctets) {
      const int64_t n = count - begin < kChunkOctets ? count - begin : kChunkOctets;
      AddOctets<W, R, 1>(panel, begin, n, 0, x + begin * 8 * R, sums);
      AddOctets<W, R, 1>(panel, begin, n, 1, x + begin * 8 * R, sums);
    }
  }
}

template <typename W, int R = kStripRows>
inline void RunOctetRows(int64_t rows, const std::byte* panel, int64_t count, const float* x,
                         float* sums) {
  if constexpr (R > 1) {
    if (rows < R) return RunOctetRows<W, R - 1>(rows, panel, count, x, sums);
  }
  RunOctets<W, R>(panel, count, x, sums);
}

using ExpandedWeights = PlainWeights<ColumnF32>;
constexpr int64_t kExpandedOctetBytes = ExpandedWeights::kOctetBytes;

// The octets [begin, begin + count) of every strip; `panel` stands at the first of them.
template <typename W>
inline void RunFloatStrips(const PanelProduct& p, const std::byte* panel, int64_t begin,
                           int64_t count) {
  for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
    const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
    const auto* x = reinterpret_cast<const float*>(p.x + m0 / kStripRows * FloatStripBytes(p.k));
    Sums sums;
    sums.Load(p, m0, rows, begin == 0);
    RunOctetRows<W>(rows, panel, count, x + begin * 8 * rows, sums.at);
    sums.Store(p, m0, rows);
  }
}

template <typename W>
struct FloatKernel {
  static int64_t ScratchBytes(int64_t /*k*/) {
    return W::kInPlace ? 0 : kChunkOctets * kExpandedOctetBytes;
  }

  static void Expand(const std::byte* panel, int64_t begin, int64_t count, float* out) {
    for (int64_t octet = begin; octet < begin + count; ++octet) {
      for (int h = 0; h < 2; ++h) {
        const auto half = W::At(panel, octet, h);
        Unroll<8>([&](auto j) INHOUSE_INLINE_LAMBDA {
          FourVectors w;
          W::Get(half, j, w);
          Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
            vst1q_f32(out + j * kPanelRows + 16 * h + 4 * i, w[i]);
          });
        });
      }
      out += 8 * kPanelRows;
    }
  }

  static void Run(const PanelProduct& p) {
    const int64_t octets = OctetCount(p.k);
    if (W::kInPlace || p.m <= kStripRows) return RunFloatStrips<W>(p, p.panel, 0, octets);
    for (int64_t begin = 0; begin < octets; begin += kChunkOctets) {
      const int64_t count = octets - begin < kChunkOctets ? octets - begin : kChunkOctets;
      Expand(p.panel, begin, count, reinterpret_cast<float*>(p.scratch));
      RunFloatStrips<ExpandedWeights>(p, p.scratch, begin, count);
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = ActivationLayout::kF32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = W::PanelBytes,
            .pack_panel = W::PackPanel,
            .strip_bytes = FloatStripBytes,
            .pack_strip = PackFloatStrip,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
