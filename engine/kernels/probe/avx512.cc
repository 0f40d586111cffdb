#include <immintrin.h>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

uint64_t ProbeReadAvx512(const std::byte* data, int64_t bytes) {
  __m512i a[4];
  for (auto& v : a) v = _mm512_setzero_si512();
  for (int64_t i = 0; i < bytes; i += 256) {
    for (int j = 0; j < 4; ++j) a[j] = _mm512_or_si512(a[j], _mm512_loadu_si512(data + i + j * 64));
  }
  const __m512i all = _mm512_or_si512(_mm512_or_si512(a[0], a[1]), _mm512_or_si512(a[2], a[3]));
  return static_cast<uint64_t>(_mm512_reduce_or_epi64(all));
}

int64_t ProbeF32Avx512(int64_t rounds) {
  __m512 acc[24];
  for (auto& a : acc) a = _mm512_setzero_ps();
  const __m512 x = _mm512_set1_ps(0.5F);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) asm volatile("vfmadd231ps %1, %1, %0" : "+v"(a) : "v"(x));
  }
  return rounds * 24 * 16 * 2;
}

// As in avx2.cc.
int64_t ProbeInt8Avx512(int64_t rounds) {
  __m512i acc[20];
  for (auto& a : acc) a = _mm512_setzero_si512();
  const __m512i w = _mm512_set1_epi8(3);
  const __m512i one = _mm512_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) {
      __m512i product;  // in assembly, or the compiler would compute the constant once
      asm volatile("vpmaddubsw %1, %1, %0" : "=v"(product) : "v"(w));
      a = _mm512_add_epi16(a, product);
      asm volatile("" : "+v"(a));
    }
    if (i % 8 == 7) {
#pragma GCC unroll 24
      for (auto& a : acc) a = _mm512_madd_epi16(a, one);
    }
  }
  return rounds * 20 * 64 * 2;
}

}  // namespace inhouse::engine
