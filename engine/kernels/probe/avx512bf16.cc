#include <immintrin.h>

#include "engine/kernels/probe/chains.h"
#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeBf16Avx512(int64_t rounds) {
  const __m512i w = _mm512_set1_epi16(0x3F00);  // 0.5
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("zmm", "vmovups", w, INHOUSE_PROBE_CHAINS("zmm", "vdpbf16ps"), left);
  return rounds * 12 * 32 * 2;
}

}  // namespace inhouse::engine
