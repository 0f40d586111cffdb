// How weights become floats: F32, F16, BF16, FP8, and at the level without dot products every
// format of integer codes. For neon.cc only.
//
// A panel is read in octets: eight columns of 32 rows, in two halves of 16 rows. A weight type W
// has
//   PanelBytes(k), PackPanel(...)
//   At(panel, octet, half)   where that half's codes and scales are
//   Get(half, j, w)          column j of it as four vectors
#pragma once

#include "engine/kernels/matmul/neon_formats.h"
#include "engine/kernels/matmul/neon_fp8.h"

namespace inhouse::engine::neon {
namespace {

using FourVectors = float32x4_t[4];

constexpr int64_t OctetCount(int64_t k) { return DivideUp(k, 8); }

// A BF16 is the upper half of a float.
INHOUSE_INLINE void WidenBF16(uint16x8_t a, uint16x8_t b, FourVectors& w) {
  w[0] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(a), 16));
  w[1] = vreinterpretq_f32_u32(vshll_high_n_u16(a, 16));
  w[2] = vreinterpretq_f32_u32(vshll_n_u16(vget_low_u16(b), 16));
  w[3] = vreinterpretq_f32_u32(vshll_high_n_u16(b, 16));
}
INHOUSE_INLINE void WidenF16(uint16x8_t a, uint16x8_t b, FourVectors& w) {
  w[0] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(a)));
  w[1] = vcvt_high_f32_f16(vreinterpretq_f16_u16(a));
  w[2] = vcvt_f32_f16(vreinterpret_f16_u16(vget_low_u16(b)));
  w[3] = vcvt_high_f32_f16(vreinterpretq_f16_u16(b));
}
INHOUSE_INLINE void WidenE4M3(const std::byte* codes, FourVectors& w) {
  const BytePair pair = DecodeE4M3(LoadBytes(codes));
  WidenBF16(vreinterpretq_u16_u8(vzip1q_u8(pair.low, pair.high)),
            vreinterpretq_u16_u8(vzip2q_u8(pair.low, pair.high)), w);
}
INHOUSE_INLINE uint16x8_t LoadWords(const std::byte* p) {
  return vreinterpretq_u16_u8(LoadBytes(p));
}

// How a column of 16 rows lies in memory, kBytes a number, and becomes floats.
struct ColumnF32 {
  static constexpr int kBytes = 4;
  static INHOUSE_INLINE void Get(const std::byte* p, FourVectors& w) {
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA { w[i] = LoadFloats(p + 16 * i); });
  }
};
struct ColumnF16 {
  static constexpr int kBytes = 2;
  static INHOUSE_INLINE void Get(const std::byte* p, FourVectors& w) {
    WidenF16(LoadWords(p), LoadWords(p + 16), w);
  }
};
struct ColumnBF16 {
  static constexpr int kBytes = 2;
  static INHOUSE_INLINE void Get(const std::byte* p, FourVectors& w) {
    WidenBF16(LoadWords(p), LoadWords(p + 16), w);
  }
};
struct ColumnE4M3 {
  static constexpr int kBytes = 1;
  static INHOUSE_INLINE void Get(const std::byte* p, FourVectors& w) { WidenE4M3(p, w); }
};
struct ColumnE5M2 {  // the upper byte of an F16
  static constexpr int kBytes = 1;
  static INHOUSE_INLINE void Get(const std::byte* p, FourVectors& w) {
    const uint8x16_t zero = vdupq_n_u8(0);
    const uint8x16_t codes = LoadBytes(p);
    WidenF16(vreinterpretq_u16_u8(vzip1q_u8(zero, codes)),
             vreinterpretq_u16_u8(vzip2q_u8(zero, codes)), w);
  }
};

// [octet][8 columns][32 rows]
template <typename Column>
struct PlainWeights {
  static constexpr int64_t kOctetBytes = int64_t{8} * kPanelRows * Column::kBytes;
  static constexpr bool kInPlace = Column::kBytes == 4;
  static int64_t PanelBytes(int64_t k) { return OctetCount(k) * kOctetBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int i = 0; i < n_rows; ++i) {
      for (int64_t column = 0; column < k; ++column) {
        std::memcpy(panel + (column * kPanelRows + i) * Column::kBytes,
                    rows[i] + column * Column::kBytes, Column::kBytes);
      }
    }
  }

  using Half = const std::byte*;
  static INHOUSE_INLINE Half At(const std::byte* panel, int64_t octet, int half) {
    return panel + octet * kOctetBytes + half * 16 * Column::kBytes;
  }
  static INHOUSE_INLINE void Get(Half half, auto j, FourVectors& w) {
    Column::Get(half + j * kPanelRows * Column::kBytes, w);
  }
};

// Groups of kColumns E4M3 codes with a float scale: scales [32], then octets.
template <int kColumns>
struct Fp8GroupWeights {
  static constexpr bool kInPlace = false;
  static constexpr int64_t kScaleBytes = kPanelRows * 4;
  static constexpr int64_t kGroupBytes = kScaleBytes + int64_t{kColumns} * kPanelRows;
  static constexpr int64_t kStoredBytes = 4 + kColumns;
  static int64_t PanelBytes(int64_t k) { return DivideUp(k, kColumns) * kGroupBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int i = 0; i < n_rows; ++i) {
      for (int64_t g = 0; g < DivideUp(k, kColumns); ++g) {
        const std::byte* stored = rows[i] + g * kStoredBytes;
        std::byte* group = panel + g * kGroupBytes;
        std::memcpy(group + 4 * i, stored, 4);
        for (int j = 0; j < kColumns; ++j) group[kScaleBytes + j * kPanelRows + i] = stored[4 + j];
      }
    }
  }

  struct Half {
    const std::byte* codes;
    FourVectors scale;
  };
  static INHOUSE_INLINE Half At(const std::byte* panel, int64_t octet, int half) {
    constexpr int kOctets = kColumns / 8;
    const std::byte* group = panel + octet / kOctets * kGroupBytes;
    Half h;
    h.codes = group + kScaleBytes + octet % kOctets * 8 * kPanelRows + 16 * half;
    Unroll<4>([&](auto i)
                  INHOUSE_INLINE_LAMBDA { h.scale[i] = LoadFloats(group + 64 * half + 16 * i); });
    return h;
  }
  static INHOUSE_INLINE void Get(const Half& half, auto j, FourVectors& w) {
    WidenE4M3(half.codes + j * kPanelRows, w);
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA { w[i] = vmulq_f32(w[i], half.scale[i]); });
  }
};

// A format of integer codes (neon_formats.h) in FloatOrder.
template <typename F>
struct CodeWeights {
  static constexpr bool kInPlace = false;
  static int64_t Blocks(int64_t k) { return DivideUp(k, F::kColumns * F::kBlockGroups); }
  static int64_t PanelBytes(int64_t k) { return RoundUp(Blocks(k) * F::kBlockBytes, 64); }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int64_t block = 0; block < Blocks(k); ++block) {
      for (int i = 0; i < n_rows; ++i) {
        F::Pack(rows[i] + block * F::kStoredBytes, i, panel + block * F::kBlockBytes);
      }
    }
  }

  struct Half {
    const std::byte* unit;
    FourVectors scale;
    FourVectors min;
  };
  static INHOUSE_INLINE Half At(const std::byte* panel, int64_t octet, int half) {
    constexpr int kOctets = F::kColumns / 8;
    const int64_t group = octet / kOctets;
    const std::byte* block = panel + group / F::kBlockGroups * F::kBlockBytes;
    const int g = static_cast<int>(group % F::kBlockGroups);
    const int in_group = static_cast<int>(octet % kOctets);
    const int unit = in_group / 4 * kUnits + half * 4 + in_group % 4;
    Half h;
    h.unit = F::Codes(block, g) + unit * F::Code::kUnitBytes;
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
      h.scale[i] = F::Scale(block, g, F::kHalves == 2 ? in_group / 2 : 0, 4 * half + i);
      if constexpr (F::kMin) h.min[i] = F::Min(block, g, 4 * half + i);
    });
    return h;
  }
  static INHOUSE_INLINE void Get(const Half& half, auto j, FourVectors& w) {
    const int8x16_t codes = F::Code::Get(half.unit, j);
    const int16x8_t low = vmovl_s8(vget_low_s8(codes));
    const int16x8_t high = vmovl_high_s8(codes);
    const int32x4_t wide[4] = {vmovl_s16(vget_low_s16(low)), vmovl_high_s16(low),
                               vmovl_s16(vget_low_s16(high)), vmovl_high_s16(high)};
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
      const float32x4_t code = vcvtq_f32_s32(wide[i]);
      w[i] = F::kMin ? vfmaq_f32(half.min[i], code, half.scale[i]) : vmulq_f32(code, half.scale[i]);
    });
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
