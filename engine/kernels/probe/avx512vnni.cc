#include <immintrin.h>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

int64_t ProbeInt8Avx512Vnni(int64_t rounds) {
  __m512i acc[24];
  for (auto& a : acc) a = _mm512_setzero_si512();
  const __m512i w = _mm512_set1_epi8(3);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) asm volatile("vpdpbusd %1, %1, %0" : "+v"(a) : "v"(w));
  }
  return rounds * 24 * 64 * 2;
}

}  // namespace inhouse::engine
