#include <arm_neon.h>

#include "engine/kernels/probe/neon_chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeInt8NeonDot(int64_t rounds) {
  const int8x16_t w = vdupq_n_s8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP(w, INHOUSE_PROBE_CHAINS("sdot", "16b"), left);
  return rounds * 24 * 16 * 2;
}

}  // namespace inhouse::engine
