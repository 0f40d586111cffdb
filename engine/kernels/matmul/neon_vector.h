// What the NEON files share. Everything is in an anonymous namespace: each translation unit is
// compiled with the flags of its own level and keeps its own copy.
#pragma once

#include <arm_neon.h>

#include <cstddef>
#include <cstdint>
#include <cstring>

#include "engine/kernels/matmul/matmul.h"

#define INHOUSE_INLINE __attribute__((always_inline)) inline
#define INHOUSE_INLINE_LAMBDA __attribute__((always_inline))

namespace inhouse::engine::neon {
namespace {

// A loop that is always unrolled: arrays of registers that are indexed by it stay in registers, and
// its index can name a lane.
template <int kValue>
struct Int {
  static constexpr int value = kValue;
  constexpr operator int() const { return kValue; }
};
template <int kCount, int kIndex = 0, typename Body>
INHOUSE_INLINE void Unroll(const Body& body) {
  if constexpr (kIndex < kCount) {
    body(Int<kIndex>{});
    Unroll<kCount, kIndex + 1>(body);
  }
}

constexpr int kPanelRows = 32;
// Six rows by four vectors of four outputs: 24 accumulators leave eight of 32 registers.
constexpr int kStripRows = 6;

// An array's size from a template's number.
constexpr size_t Size(int n) { return static_cast<size_t>(n); }

constexpr int64_t RoundUp(int64_t value, int64_t multiple) {
  return (value + multiple - 1) / multiple * multiple;
}
constexpr int64_t DivideUp(int64_t value, int64_t by) { return (value + by - 1) / by; }

INHOUSE_INLINE uint8x16_t LoadBytes(const std::byte* p) {
  return vld1q_u8(reinterpret_cast<const uint8_t*>(p));
}
INHOUSE_INLINE float32x4_t LoadFloats(const std::byte* p) {
  return vreinterpretq_f32_u8(LoadBytes(p));
}
// Four F16 numbers.
INHOUSE_INLINE float32x4_t LoadHalfs(const std::byte* p) {
  return vcvt_f32_f16(vreinterpret_f16_u8(vld1_u8(reinterpret_cast<const uint8_t*>(p))));
}
// Four bytes in the low half of a vector of 16-bit numbers.
INHOUSE_INLINE uint16x8_t LoadFourU8(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  return vmovl_u8(vreinterpret_u8_u32(vdup_n_u32(word)));
}
// Four unsigned or signed bytes as floats.
INHOUSE_INLINE float32x4_t LoadU8(const std::byte* p) {
  return vcvtq_f32_u32(vmovl_u16(vget_low_u16(LoadFourU8(p))));
}
INHOUSE_INLINE float32x4_t LoadS8(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, sizeof(word));
  const int16x8_t wide = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(word)));
  return vcvtq_f32_s32(vmovl_s16(vget_low_s16(wide)));
}

// Sums of one strip: [kStripRows][kPanelRows]. They stand in y between two chunks of columns, of
// which only n_rows columns exist; storing and loading floats is exact.
struct Sums {
  alignas(64) float at[Size(kStripRows * kPanelRows)];

  void Load(const PanelProduct& p, int64_t m0, int64_t rows, bool first) {
    std::memset(at, 0, sizeof(at));
    for (int64_t r = 0; !first && r < rows; ++r) {
      std::memcpy(at + r * kPanelRows, p.y + (m0 + r) * p.ldy,
                  static_cast<size_t>(p.n_rows) * sizeof(float));
    }
  }
  void Store(const PanelProduct& p, int64_t m0, int64_t rows) const {
    for (int64_t r = 0; r < rows; ++r) {
      std::memcpy(p.y + (m0 + r) * p.ldy, at + r * kPanelRows,
                  static_cast<size_t>(p.n_rows) * sizeof(float));
    }
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
