// FP8 E4M3 codes as BF16, exactly.
#pragma once

#include "engine/kernels/matmul/neon_vector.h"

namespace inhouse::engine::neon {
namespace {

struct BytePair {
  uint8x16_t low, high;  // of 16 numbers of 16 bits
};

// A normal magnitude m = 8..126 is the BF16 (m << 4) + 0x3C00: the exponent's bias grows by 120.
// Those of 0..7 (zero and the subnormals, which BF16 has as normal numbers) come out of tables of
// 16, of which TBX leaves the other lanes alone. 127 is NaN.
INHOUSE_INLINE BytePair DecodeE4M3(uint8x16_t codes) {
  const uint8x16_t low_table = {0x00, 0x00, 0x80, 0xC0, 0x00, 0x20, 0x40, 0x60,
                                0x80, 0x90, 0xA0, 0xB0, 0xC0, 0xD0, 0xE0, 0xF0};
  const uint8x16_t high_table = {0x00, 0x3B, 0x3B, 0x3B, 0x3C, 0x3C, 0x3C, 0x3C,
                                 0x3C, 0x3C, 0x3C, 0x3C, 0x3C, 0x3C, 0x3C, 0x3C};
  const uint8x16_t magnitude = vandq_u8(codes, vdupq_n_u8(0x7F));
  const uint8x16_t low = vqtbx1q_u8(vshlq_n_u8(codes, 4), low_table, magnitude);
  uint8x16_t high = vsraq_n_u8(vdupq_n_u8(0x3C), magnitude, 4);
  high = vqtbx1q_u8(high, high_table, magnitude);
  high = vorrq_u8(high, vceqq_u8(magnitude, vdupq_n_u8(0x7F)));
  return {low, vbslq_u8(vdupq_n_u8(0x80), codes, high)};
}

}  // namespace
}  // namespace inhouse::engine::neon
