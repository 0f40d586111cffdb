// Panel formats of the types with integer codes and one scale for 32 or 128 columns: Q8_0, Q4_0,
// Q4_1, Q5_0, Q5_1, MXFP4 and the I8 and I4 groups. `Order` is that of the arithmetic that reads
// the panel (neon_codes.h). As many bits per weight as are stored.
//
// A format has blocks of kBlockGroups groups of kColumns columns, of all rows:
//   Pack(stored, row, block)     puts one row's stored block into a zeroed block
//   Codes(block, g)              its Code units: for each 32 columns kUnits of them
//   Scale(block, g, half, u)     of rows 4u .. 4u + 3; kHalves = 2: of each half of 32 columns
//   Min(block, g, u)             if kMin: what is added to scale * code
//
// Stored layouts: docs/file-formats.md, engine/kernels/dequantize_blocks.cc, tensor/dtype.h.
#pragma once

#include "engine/kernels/matmul/neon_codes.h"

namespace inhouse::engine::neon {
namespace {

inline uint32_t ByteAt(const std::byte* p, int64_t i) { return static_cast<uint32_t>(p[i]); }

// Columns 0..15 of 32 stored nibbles are the low halves of 16 bytes, 16..31 the high ones.
inline uint32_t StoredNibble(const std::byte* codes, int column) {
  const uint32_t both = ByteAt(codes, column / 32 * 16 + column % 16);
  return column % 32 < 16 ? both & 15U : both >> 4;
}
// The fifth bits of 32 columns are one little-endian word.
inline uint32_t StoredBit(const std::byte* bits, int column) {
  return ByteAt(bits, column / 8) >> (column % 8) & 1U;
}

template <typename Code, typename Order>
inline void PutCode(std::byte* codes, int row, int column, uint32_t code) {
  const Place place = Order::Of(row, column % 32);
  Code::Put(codes + (column / 32 * kUnits + place.unit) * Code::kUnitBytes, place.vector,
            place.byte, code);
}

struct HalfScale {
  static constexpr int kBytes = 2;
  static INHOUSE_INLINE float32x4_t Load(const std::byte* p) { return LoadHalfs(p); }
};
struct FloatScale {
  static constexpr int kBytes = 4;
  static INHOUSE_INLINE float32x4_t Load(const std::byte* p) { return LoadFloats(p); }
};
// e as 2^(e - 128), for codes that are twice the values; 0 and 1 give subnormal floats.
struct ExponentScale {
  static constexpr int kBytes = 1;
  static INHOUSE_INLINE float32x4_t Load(const std::byte* p) {
    const uint32x4_t e = vmovl_u16(vget_low_u16(LoadFourU8(p)));
    const uint32x4_t normal = vshlq_n_u32(vsubq_u32(e, vdupq_n_u32(1)), 23);
    const uint32x4_t tiny = vshlq_u32(vdupq_n_u32(0x00200000U), vreinterpretq_s32_u32(e));
    return vreinterpretq_f32_u32(vbslq_u32(vcltq_u32(e, vdupq_n_u32(2)), tiny, normal));
  }
};

// What is stored: the scale comes first, then the minimum if there is one.
struct StoredQ8_0 {
  using Code = ByteCodes;
  using Scale = HalfScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 34;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) { return ByteAt(stored, 2 + column); }
};
struct StoredQ4_0 {
  using Code = SignedNibbleCodes;
  using Scale = HalfScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 18;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 2, column);
  }
};
struct StoredQ4_1 {
  using Code = NibbleCodes;
  using Scale = HalfScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 20;
  static constexpr bool kMin = true;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 4, column);
  }
};
struct StoredQ5_0 {
  using Code = TwoPlaneCodes<1, 16>;
  using Scale = HalfScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 22;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 6, column) | StoredBit(stored + 2, column) << 4;
  }
};
struct StoredQ5_1 {
  using Code = TwoPlaneCodes<1, 0>;
  using Scale = HalfScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 24;
  static constexpr bool kMin = true;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 8, column) | StoredBit(stored + 4, column) << 4;
  }
};
struct StoredMXFP4 {
  using Code = E2M1Codes;
  using Scale = ExponentScale;
  static constexpr int kColumns = 32;
  static constexpr int kBytes = 17;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 1, column);
  }
};
template <int kGroupColumns>
struct StoredI8 {
  using Code = ByteCodes;
  using Scale = FloatScale;
  static constexpr int kColumns = kGroupColumns;
  static constexpr int kBytes = 4 + kColumns;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) { return ByteAt(stored, 4 + column); }
};
template <int kGroupColumns>
struct StoredI4 {
  using Code = SignedNibbleCodes;
  using Scale = FloatScale;
  static constexpr int kColumns = kGroupColumns;
  static constexpr int kBytes = 4 + kColumns / 2;
  static constexpr bool kMin = false;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 4, column);
  }
};
template <int kGroupColumns>
struct StoredI4Min {
  using Code = NibbleCodes;
  using Scale = FloatScale;
  static constexpr int kColumns = kGroupColumns;
  static constexpr int kBytes = 8 + kColumns / 2;
  static constexpr bool kMin = true;
  static uint32_t At(const std::byte* stored, int column) {
    return StoredNibble(stored + 8, column);
  }
};

// A panel block: scales [32], minima [32] if there are any, codes.
template <typename Order, typename Stored>
struct PlainFormat {
  using Code = typename Stored::Code;
  using ScaleType = typename Stored::Scale;
  static constexpr int kColumns = Stored::kColumns;
  static constexpr int kHalves = 1;
  static constexpr bool kMin = Stored::kMin;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = Stored::kBytes;
  static constexpr int64_t kMinAt = ScaleType::kBytes * kPanelRows;
  static constexpr int64_t kCodesAt = kMin ? 2 * kMinAt : kMinAt;
  static constexpr int64_t kBlockBytes = kCodesAt + kColumns / 32 * kUnits * Code::kUnitBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + row * ScaleType::kBytes, stored, ScaleType::kBytes);
    if (kMin) {
      std::memcpy(block + kMinAt + row * ScaleType::kBytes, stored + ScaleType::kBytes,
                  ScaleType::kBytes);
    }
    for (int column = 0; column < kColumns; ++column) {
      PutCode<Code, Order>(block + kCodesAt, row, column, Stored::At(stored, column));
    }
  }
  static INHOUSE_INLINE const std::byte* Codes(const std::byte* block, int /*g*/) {
    return block + kCodesAt;
  }
  static INHOUSE_INLINE float32x4_t Scale(const std::byte* block, int /*g*/, int /*half*/, int u) {
    return ScaleType::Load(block + u * 4 * ScaleType::kBytes);
  }
  static INHOUSE_INLINE float32x4_t Min(const std::byte* block, int /*g*/, int u) {
    return ScaleType::Load(block + kMinAt + u * 4 * ScaleType::kBytes);
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
