#include <arm_neon.h>

#include "engine/kernels/probe/neon_chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

uint64_t ProbeReadNeon(const std::byte* data, int64_t bytes) {
  uint8x16_t a = vdupq_n_u8(0);
  uint8x16_t b = a;
  uint8x16_t c = a;
  uint8x16_t d = a;
  for (int64_t i = 0; i < bytes; i += 64) {
    const auto* at = reinterpret_cast<const uint8_t*>(data) + i;
    a = vorrq_u8(a, vld1q_u8(at));
    b = vorrq_u8(b, vld1q_u8(at + 16));
    c = vorrq_u8(c, vld1q_u8(at + 32));
    d = vorrq_u8(d, vld1q_u8(at + 48));
  }
  const uint64x2_t all = vreinterpretq_u64_u8(vorrq_u8(vorrq_u8(a, b), vorrq_u8(c, d)));
  return vgetq_lane_u64(all, 0) | vgetq_lane_u64(all, 1);
}

int64_t ProbeF32Neon(int64_t rounds) {
  const float32x4_t x = vdupq_n_f32(0.5F);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP(x, INHOUSE_PROBE_CHAINS("fmla", "4s"), left);
  return rounds * 24 * 4 * 2;
}

// Products of 16-bit numbers, as 16-bit activations need them without dot products.
int64_t ProbeInt8Neon(int64_t rounds) {
  const int16x8_t w = vdupq_n_s16(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP(w, INHOUSE_PROBE_CHAINS("smlal", "4h"), left);
  return rounds * 24 * 4 * 2;
}

}  // namespace inhouse::engine
