#include <immintrin.h>

#include "engine/kernels/probe/chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeInt8Avx512Vnni(int64_t rounds) {
  const __m512i w = _mm512_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("zmm", "vmovups", w, INHOUSE_PROBE_CHAINS("zmm", "vpdpbusd"), left);
  return rounds * 12 * 64 * 2;
}

}  // namespace inhouse::engine
