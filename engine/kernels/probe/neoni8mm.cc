#include <arm_neon.h>

#include "engine/kernels/probe/neon_chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

// 2 x 2 sums of eight products.
int64_t ProbeInt8NeonI8mm(int64_t rounds) {
  const int8x16_t w = vdupq_n_s8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP(w, INHOUSE_PROBE_CHAINS("smmla", "16b"), left);
  return rounds * 24 * 32 * 2;
}

// 2 x 2 sums of four products.
int64_t ProbeBf16NeonI8mm(int64_t rounds) {
  const uint16x8_t w = vdupq_n_u16(0x3F00);  // 0.5
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP(w, INHOUSE_PROBE_CHAINS("bfmmla", "8h"), left);
  return rounds * 24 * 16 * 2;
}

}  // namespace inhouse::engine
