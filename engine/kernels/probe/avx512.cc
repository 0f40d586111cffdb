#include <immintrin.h>

#include "engine/kernels/probe/chains.h"
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
  const __m512 w = _mm512_set1_ps(0.5F);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("zmm", "vmovups", w, INHOUSE_PROBE_CHAINS("zmm", "vfmadd231ps"), left);
  return rounds * 12 * 16 * 2;
}

int64_t ProbeInt8Avx512(int64_t rounds) {
  const __m512i w = _mm512_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("zmm", "vmovups", w, INHOUSE_PROBE_MADD8("zmm"), left);
  return rounds * 12 * 32 * 2;
}

int64_t ProbeInt4Avx512(int64_t rounds) {
  const __m512i w = _mm512_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("zmm", "vmovups", w, INHOUSE_PROBE_MADD4("zmm"), left);
  return rounds * 8 * 6 * 64 * 2;
}

}  // namespace inhouse::engine
