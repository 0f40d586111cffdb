// BF16 and FP8 weights with BFMMLA: activations are rounded to BF16 once; a multiplication of 2 x 4
// by 4 x 2 numbers adds four products to each of 2 x 2 sums. One row of x is a pair whose other row
// is zero: decoding moves bytes, and the wasted half costs nothing. For neoni8mm.cc only.
//
// A panel is a sequence of steps of four columns; a step holds eight units of four rows. Steps come
// in spans that share a scale for each row (plain types: a span is what stays in L1, without
// scales). Each element of y is one chain: within a span products, then one multiply-add a span.
// The instruction takes subnormal inputs as zero and flushes subnormal results.
#pragma once

#include "engine/kernels/matmul/neon_fp8.h"
#include "engine/kernels/matmul/neon_vector.h"

namespace inhouse::engine::neon {
namespace {

constexpr int kStepColumns = 4;
constexpr int kStepUnits = 8;
constexpr int64_t kChunkSteps = 64;  // 16 KiB of BF16

// kBF16Pairs: [step][R][4 columns], R even.
inline int64_t StepCount(int64_t k) { return DivideUp(k, kStepColumns); }
inline int64_t Bf16StripBytes(int64_t k) { return RoundUp(StepCount(k) * kStripRows * 8, 64); }

inline void PackBf16Strip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/,
                          int64_t k, std::byte* packed_x) {
  std::byte* strip = packed_x + m0 / kStripRows * Bf16StripBytes(k);
  const int64_t rows = RoundUp(m1 - m0, 2);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t step = 0; step < StepCount(k); ++step) {
      const int64_t column = step * kStepColumns;
      const int64_t n = k - column < kStepColumns ? k - column : kStepColumns;
      float columns[Size(kStepColumns)] = {};
      if (m0 + r < m1) {
        std::memcpy(columns, x + (m0 + r) * ldx + column, static_cast<size_t>(n) * sizeof(float));
      }
      const uint16x4_t codes = vreinterpret_u16_bf16(vcvt_bf16_f32(vld1q_f32(columns)));
      vst1_u16(reinterpret_cast<uint16_t*>(strip + (step * rows + r) * 8), codes);
    }
  }
}

using UnitVectors = bfloat16x8_t[2];  // rows 0 and 1, rows 2 and 3, of four columns

struct Bf16Steps {
  static constexpr int kBytes = 2;  // of a code
  static constexpr bool kInPlace = true;
  static INHOUSE_INLINE void Get(const std::byte* step, int unit, UnitVectors& w) {
    w[0] = vreinterpretq_bf16_u8(LoadBytes(step + unit * 32));
    w[1] = vreinterpretq_bf16_u8(LoadBytes(step + unit * 32 + 16));
  }
};
struct E4M3Steps {
  static constexpr int kBytes = 1;
  static constexpr bool kInPlace = false;
  static INHOUSE_INLINE void Get(const std::byte* step, int unit, UnitVectors& w) {
    const BytePair pair = DecodeE4M3(LoadBytes(step + unit * 16));
    w[0] = vreinterpretq_bf16_u8(vzip1q_u8(pair.low, pair.high));
    w[1] = vreinterpretq_bf16_u8(vzip2q_u8(pair.low, pair.high));
  }
};
template <typename Steps>
constexpr int64_t kStepBytesOf = int64_t{kStepColumns} * kPanelRows * Steps::kBytes;

INHOUSE_INLINE float32x4_t LowHalves(float32x4_t a, float32x4_t b) {
  return vreinterpretq_f32_f64(vzip1q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}
INHOUSE_INLINE float32x4_t HighHalves(float32x4_t a, float32x4_t b) {
  return vreinterpretq_f32_f64(vzip2q_f64(vreinterpretq_f64_f32(a), vreinterpretq_f64_f32(b)));
}

// sums += (scale *) the products of `n` steps, for P pairs of rows and the units u0 .. u0 + C - 1.
// An accumulator holds two rows of x times two rows of weights.
template <typename Steps, bool kScaled, int P, int C>
INHOUSE_INLINE void AddSteps(const std::byte* w, int64_t n, int u0, const std::byte* x,
                             const float* scale, float* sums) {
  float32x4_t acc[Size(P)][Size(C)][2];
  sums += 4 * u0;
  Unroll<P>([&](auto r) INHOUSE_INLINE_LAMBDA {
    Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
      const float* at = sums + 2 * r * kPanelRows + 4 * c;
      const float32x4_t even = kScaled ? vdupq_n_f32(0) : vld1q_f32(at);
      const float32x4_t odd = kScaled ? vdupq_n_f32(0) : vld1q_f32(at + kPanelRows);
      acc[r][c][0] = LowHalves(even, odd);
      acc[r][c][1] = HighHalves(even, odd);
    });
  });
  for (int64_t i = 0; i < n; ++i) {
    bfloat16x8_t a[Size(P)];
    Unroll<P>([&](auto r)
                  INHOUSE_INLINE_LAMBDA { a[r] = vreinterpretq_bf16_u8(LoadBytes(x + 16 * r)); });
    Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
      UnitVectors b;
      Steps::Get(w, u0 + c, b);
      Unroll<P>([&](auto r) INHOUSE_INLINE_LAMBDA {
        acc[r][c][0] = vbfmmlaq_f32(acc[r][c][0], a[r], b[0]);
        acc[r][c][1] = vbfmmlaq_f32(acc[r][c][1], a[r], b[1]);
      });
    });
    w += kStepBytesOf<Steps>;
    x += 16 * P;
  }
  Unroll<P>([&](auto r) INHOUSE_INLINE_LAMBDA {
    Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
      float* at = sums + 2 * r * kPanelRows + 4 * c;
      float32x4_t even = LowHalves(acc[r][c][0], acc[r][c][1]);
      float32x4_t odd = HighHalves(acc[r][c][0], acc[r][c][1]);
      if constexpr (kScaled) {
        const float32x4_t s = vld1q_f32(scale + 4 * (u0 + c));
        even = vfmaq_f32(vld1q_f32(at), even, s);
        odd = vfmaq_f32(vld1q_f32(at + kPanelRows), odd, s);
      }
      vst1q_f32(at, even);
      vst1q_f32(at + kPanelRows, odd);
    });
  });
}

// Where the steps and the scales of successive spans are.
struct Spans {
  const std::byte* steps;
  int64_t stride;
  const std::byte* scales;
  int64_t scale_stride;
  int64_t span_steps;
  int64_t n_steps;  // of all; the last span may be cut off
};

template <typename Steps, bool kScaled, int P>
[[gnu::noinline]] void RunSpans(const Spans& s, const std::byte* x, float* sums) {
  constexpr int C = P == 1 ? 8 : 4;  // units: 16 or 24 accumulators
  for (int64_t i = 0; i * s.span_steps < s.n_steps; ++i) {
    const int64_t left = s.n_steps - i * s.span_steps;
    const int64_t n = left < s.span_steps ? left : s.span_steps;
    const auto* scale = reinterpret_cast<const float*>(s.scales + i * s.scale_stride);
    for (int u0 = 0; u0 < kStepUnits; u0 += C) {
      AddSteps<Steps, kScaled, P, C>(s.steps + i * s.stride, n, u0, x, scale, sums);
    }
    x += 16 * P * n;
  }
}

template <typename Steps, bool kScaled>
inline void RunSpanRows(int64_t rows, const Spans& s, const std::byte* x, float* sums) {
  switch (DivideUp(rows, 2)) {
    case 1:
      return RunSpans<Steps, kScaled, 1>(s, x, sums);
    case 2:
      return RunSpans<Steps, kScaled, 2>(s, x, sums);
    default:
      return RunSpans<Steps, kScaled, 3>(s, x, sums);
  }
}

// kGroup columns share a scale, or 0: none.
template <typename Steps, int kGroup>
struct MatrixKernel {
  static constexpr bool kScaled = kGroup != 0;
  static constexpr int64_t kStepBytes = kStepBytesOf<Steps>;
  static constexpr int64_t kSpanSteps = kScaled ? kGroup / kStepColumns : kChunkSteps;
  static constexpr int64_t kScaleBytes = kScaled ? kPanelRows * 4 : 0;
  static constexpr int64_t kSpanBytes = kScaleBytes + kSpanSteps * kStepBytes;

  static int64_t PanelBytes(int64_t k) {
    return kScaled ? DivideUp(k, kGroup) * kSpanBytes : StepCount(k) * kStepBytes;
  }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return Steps::kInPlace ? 0 : kChunkSteps * kStepBytesOf<Bf16Steps>;
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    constexpr int64_t kSpanColumns = kSpanSteps * kStepColumns;
    for (int i = 0; i < n_rows; ++i) {
      const std::byte* stored = rows[i];
      for (int64_t begin = 0; begin < k; begin += kSpanColumns) {
        std::byte* span = panel + begin / kSpanColumns * kSpanBytes;
        if (kScaled) {
          std::memcpy(span + 4 * i, stored, 4);
          stored += 4;
        }
        const int64_t n = k - begin < kSpanColumns ? k - begin : kSpanColumns;
        for (int64_t j = 0; j < n; ++j) {
          std::memcpy(span + kScaleBytes + j / kStepColumns * kStepBytes +
                          (i * kStepColumns + j % kStepColumns) * Steps::kBytes,
                      stored + j * Steps::kBytes, Steps::kBytes);
        }
        stored += kSpanColumns * Steps::kBytes;
      }
    }
  }

  template <typename S>
  static void RunStrips(const PanelProduct& p, const Spans& spans, int64_t first_step) {
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      const std::byte* x =
          p.x + m0 / kStripRows * Bf16StripBytes(p.k) + first_step * 8 * RoundUp(rows, 2);
      Sums sums;
      sums.Load(p, m0, rows, first_step == 0);
      RunSpanRows<S, kScaled>(rows, spans, x, sums.at);
      sums.Store(p, m0, rows);
    }
  }

  static void Expand(const std::byte* span, int64_t n, std::byte* out) {
    const std::byte* step = span + kScaleBytes;
    for (int64_t i = 0; i < n; ++i, step += kStepBytes) {
      for (int u = 0; u < kStepUnits; ++u, out += 32) {
        UnitVectors w;
        Steps::Get(step, u, w);
        vst1q_u8(reinterpret_cast<uint8_t*>(out), vreinterpretq_u8_bf16(w[0]));
        vst1q_u8(reinterpret_cast<uint8_t*>(out) + 16, vreinterpretq_u8_bf16(w[1]));
      }
    }
  }

  static void Run(const PanelProduct& p) {
    const int64_t steps = StepCount(p.k);
    if (Steps::kInPlace || p.m <= kStripRows) {
      return RunStrips<Steps>(
          p, {p.panel + kScaleBytes, kSpanBytes, p.panel, kSpanBytes, kSpanSteps, steps}, 0);
    }
    constexpr int64_t kWideSpan = kSpanSteps * kStepBytesOf<Bf16Steps>;
    for (int64_t begin = 0; begin < steps; begin += kChunkSteps) {
      const int64_t n = steps - begin < kChunkSteps ? steps - begin : kChunkSteps;
      const std::byte* first = p.panel + begin / kSpanSteps * kSpanBytes;
      for (int64_t i = 0; i * kSpanSteps < n; ++i) {
        const int64_t left = n - i * kSpanSteps;
        Expand(first + i * kSpanBytes, left < kSpanSteps ? left : kSpanSteps,
               p.scratch + i * kWideSpan);
      }
      RunStrips<Bf16Steps>(p, {p.scratch, kWideSpan, first, kSpanBytes, kSpanSteps, n}, begin);
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = ActivationLayout::kBF16Pairs,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = Bf16StripBytes,
            .pack_strip = PackBf16Strip,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
