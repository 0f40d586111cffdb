#include <immintrin.h>

#include "engine/kernels/probe/chains.h"
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
  const __m256 w = _mm256_set1_ps(0.5F);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("ymm", "vmovups", w, INHOUSE_PROBE_CHAINS("ymm", "vfmadd231ps"), left);
  return rounds * 12 * 8 * 2;
}

int64_t ProbeInt8Avx2(int64_t rounds) {
  const __m256i w = _mm256_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("ymm", "vmovups", w, INHOUSE_PROBE_MADD8("ymm"), left);
  return rounds * 12 * 16 * 2;
}

int64_t ProbeInt4Avx2(int64_t rounds) {
  const __m256i w = _mm256_set1_epi8(3);
  int64_t left = rounds;
  INHOUSE_PROBE_LOOP("ymm", "vmovups", w, INHOUSE_PROBE_MADD4("ymm"), left);
  return rounds * 8 * 6 * 32 * 2;
}

}  // namespace inhouse::engine
