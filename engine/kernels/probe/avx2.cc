#include <immintrin.h>

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

uint64_t ProbeReadAvx2(const std::byte* data, int64_t bytes) {
  __m256i a[4] = {};
  for (int64_t i = 0; i < bytes; i += 128) {
    for (int j = 0; j < 4; ++j) {
      a[j] =
          _mm256_or_si256(a[j], _mm256_loadu_si256(reinterpret_cast<const __m256i*>(data + i) + j));
    }
  }
  const __m256i all = _mm256_or_si256(_mm256_or_si256(a[0], a[1]), _mm256_or_si256(a[2], a[3]));
  return static_cast<uint64_t>(_mm256_extract_epi64(all, 0) | _mm256_extract_epi64(all, 3));
}

int64_t ProbeF32Avx2(int64_t rounds) {
  __m256 acc[12];
  for (auto& a : acc) a = _mm256_setzero_ps();
  const __m256 x = _mm256_set1_ps(0.5F);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) {
      a = _mm256_fmadd_ps(x, x, a);
      asm volatile("" : "+x"(a));  // keeps the chain from being folded
    }
  }
  return rounds * 12 * 8 * 2;
}

// Products of u8 and s8 are added in 16 bits eight times before they are widened: the fastest chain
// without VNNI (right for 4-bit weights; 8-bit ones must widen sooner).
int64_t ProbeInt8Avx2(int64_t rounds) {
  __m256i acc[10];
  for (auto& a : acc) a = _mm256_setzero_si256();
  const __m256i w = _mm256_set1_epi8(3);
  const __m256i one = _mm256_set1_epi16(1);
  for (int64_t i = 0; i < rounds; ++i) {
#pragma GCC unroll 24
    for (auto& a : acc) {
      __m256i product;  // in assembly, or the compiler would compute the constant once
      asm volatile("vpmaddubsw %1, %1, %0" : "=x"(product) : "x"(w));
      a = _mm256_add_epi16(a, product);
      asm volatile("" : "+x"(a));
    }
    if (i % 8 == 7) {
#pragma GCC unroll 24
      for (auto& a : acc) a = _mm256_madd_epi16(a, one);
    }
  }
  return rounds * 10 * 32 * 2;
}

}  // namespace inhouse::engine
