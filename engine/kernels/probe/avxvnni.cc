#include <immintrin.h>

#include "engine/kernels/probe/chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeInt8AvxVnni(int64_t rounds) {
  const __m256i w = _mm256_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("ymm", "vmovups", w, INHOUSE_PROBE_CHAINS("ymm", "%{vex%} vpdpbusd"), left);
  return rounds * 12 * 32 * 2;
}

}  // namespace inhouse::engine
