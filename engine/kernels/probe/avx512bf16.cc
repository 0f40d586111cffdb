#include <immintrin.h>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeBf16Avx512(int64_t rounds) {
  __m512 acc[24];
  for (auto& a : acc) a = _mm512_setzero_ps();
  const __m512i w = _mm512_set1_epi16(0x3F00);  // 0.5
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) asm volatile("vdpbf16ps %1, %1, %0" : "+v"(a) : "v"(w));
  }
  return rounds * 24 * 32 * 2;
}

}  // namespace inhouse::engine
