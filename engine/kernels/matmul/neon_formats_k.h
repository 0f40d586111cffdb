// Panel formats of the GGUF K blocks: 256 columns with small scales for each 32 (Q4_K, Q5_K) or 16
// (Q6_K). The small scales are unpacked to bytes. The interface is that of neon_formats.h.
#pragma once

#include "engine/kernels/matmul/neon_formats.h"

namespace inhouse::engine::neon {
namespace {

template <int kBits>
struct CodesOf {
  using Type = TwoPlaneCodes<1, 0>;
};
template <>
struct CodesOf<4> {
  using Type = NibbleCodes;
};

// w = d sc[g] q - dmin m[g], g = 0..7; q has kBits = 4 or 5. A panel block: d F16 [32], dmin F16
// [32], then eight times sc U8 [32], m U8 [32], codes.
template <typename Order, int kBits>
struct ScaleMinFormat {
  static_assert(kBits == 4 || kBits == 5);
  using Code = typename CodesOf<kBits>::Type;
  static constexpr int kColumns = 32;
  static constexpr int kHalves = 1;
  static constexpr bool kMin = true;
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kHighBytes = kBits == 5 ? 32 : 0;  // stored before the nibbles
  static constexpr int64_t kStoredBytes = 144 + kHighBytes;
  static constexpr int64_t kHeaderBytes = 4 * kPanelRows;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + kUnits * Code::kUnitBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    std::memcpy(block + 2 * kPanelRows + 2 * row, stored + 2, 2);
    const std::byte* s = stored + 4;
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      const uint32_t scale =
          g < 4 ? ByteAt(s, g) & 63U : (ByteAt(s, g + 4) & 15U) | ByteAt(s, g - 4) >> 6 << 4;
      const uint32_t min =
          g < 4 ? ByteAt(s, g + 4) & 63U : ByteAt(s, g + 4) >> 4 | ByteAt(s, g) >> 6 << 4;
      group[row] = static_cast<std::byte>(scale);
      group[kPanelRows + row] = static_cast<std::byte>(min);
      for (int j = 0; j < 32; ++j) {
        uint32_t code = ByteAt(stored, 16 + kHighBytes + g / 2 * 32 + j) >> (g % 2 * 4) & 15U;
        if (kBits == 5) code |= (ByteAt(stored, 16 + j) >> g & 1U) << 4;
        PutCode<Code, Order>(group + 2 * kPanelRows, row, j, code);
      }
    }
  }
  static INHOUSE_INLINE const std::byte* Codes(const std::byte* block, int g) {
    return block + kHeaderBytes + g * kGroupBytes + 2 * kPanelRows;
  }
  static INHOUSE_INLINE float32x4_t Scale(const std::byte* block, int g, int /*half*/, int u) {
    return vmulq_f32(LoadHalfs(block + 8 * u),
                     LoadU8(block + kHeaderBytes + g * kGroupBytes + 4 * u));
  }
  static INHOUSE_INLINE float32x4_t Min(const std::byte* block, int g, int u) {
    const float32x4_t dmin = LoadHalfs(block + 2 * kPanelRows + 8 * u);
    return vmulq_f32(vnegq_f32(dmin),
                     LoadU8(block + kHeaderBytes + g * kGroupBytes + kPanelRows + 4 * u));
  }
};

// w = d sc[s] (q - 32), s = 0..15, sc signed. A panel block: d F16 [32], then eight times sc S8
// [2][32], codes.
template <typename Order>
struct Q6_K {
  using Code = TwoPlaneCodes<2, 32>;
  static constexpr int kColumns = 32;
  static constexpr int kHalves = 2;
  static constexpr bool kMin = false;
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kStoredBytes = 210;
  static constexpr int64_t kHeaderBytes = 2 * kPanelRows;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + kUnits * Code::kUnitBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;

  static uint32_t At(const std::byte* stored, int j) {
    const int half = j / 128;
    const int quarter = j / 32 % 4;
    const uint32_t low = ByteAt(stored, half * 64 + quarter % 2 * 32 + j % 32) >> (quarter / 2 * 4);
    const uint32_t high = ByteAt(stored, 128 + half * 32 + j % 32) >> (2 * quarter);
    return (low & 15U) | (high & 3U) << 4;
  }
  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored + 208, 2);
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      group[row] = stored[192 + 2 * g];
      group[kPanelRows + row] = stored[192 + 2 * g + 1];
      for (int j = 0; j < 32; ++j) {
        PutCode<Code, Order>(group + 2 * kPanelRows, row, j, At(stored, 32 * g + j));
      }
    }
  }
  static INHOUSE_INLINE const std::byte* Codes(const std::byte* block, int g) {
    return block + kHeaderBytes + g * kGroupBytes + 2 * kPanelRows;
  }
  static INHOUSE_INLINE float32x4_t Scale(const std::byte* block, int g, int half, int u) {
    return vmulq_f32(LoadHalfs(block + 8 * u),
                     LoadS8(block + kHeaderBytes + g * kGroupBytes + half * kPanelRows + 4 * u));
  }
  static INHOUSE_INLINE float32x4_t Min(const std::byte* /*block*/, int /*g*/, int /*u*/) {
    return vdupq_n_f32(0);
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
