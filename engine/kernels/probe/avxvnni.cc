#include <immintrin.h>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeInt8AvxVnni(int64_t rounds) {
  __m256i acc[12];
  for (auto& a : acc) a = _mm256_setzero_si256();
  const __m256i w = _mm256_set1_epi8(3);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) asm volatile("%{vex%} vpdpbusd %1, %1, %0" : "+x"(a) : "x"(w));
  }
  return rounds * 12 * 32 * 2;
}

}  // namespace inhouse::engine
