#include "engine/kernels/matmul/avx2_strips.h"

#include <immintrin.h>

#include <cstring>

namespace inhouse::engine::avx2 {
namespace {

int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

// 127 * 256, as at the levels that hold a code as two planes of eight bits.
constexpr float kCodeMax = 32512.0F;

struct Quantized {
  alignas(32) int16_t codes[kGroup];
  float scale;
  int32_t sums[2];  // of the first and the last 16 codes
};

float ReduceMax(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// A group with an infinity or a NaN gets the scale NaN, so that it spoils its products as in
// float.
Quantized Quantize(const float* x) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 v[4];
  __m256 max = _mm256_setzero_ps();
  __m256 poison = _mm256_setzero_ps();  // x * 0 is NaN if x is not finite
  for (int i = 0; i < 4; ++i) {
    v[i] = _mm256_loadu_ps(x + 8 * i);
    max = _mm256_max_ps(_mm256_andnot_ps(sign, v[i]), max);
    poison = _mm256_fmadd_ps(v[i], _mm256_setzero_ps(), poison);
  }
  Quantized q;
  const float amax = ReduceMax(max);
  const bool finite = _mm256_movemask_ps(_mm256_cmp_ps(poison, poison, _CMP_UNORD_Q)) == 0;
  // Below 1e-30 the reciprocal nears infinity; such a group is zero beside anything else.
  const bool zero = !(amax > 1e-30F) || !finite;
  q.scale = !finite ? __builtin_nanf("") : zero ? 0.0F : amax / kCodeMax;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0F : kCodeMax / amax);
  __m256i c[4];
  for (int i = 0; i < 4; ++i) {
    const __m256 scaled = finite ? _mm256_mul_ps(v[i], inverse) : _mm256_setzero_ps();
    c[i] = _mm256_cvtps_epi32(scaled);
  }
  for (int half = 0; half < 2; ++half) {
    const __m256i s = _mm256_add_epi32(c[2 * half], c[2 * half + 1]);
    __m128i t = _mm_add_epi32(_mm256_castsi256_si128(s), _mm256_extracti128_si256(s, 1));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0x4E));
    t = _mm_add_epi32(t, _mm_shuffle_epi32(t, 0xB1));
    q.sums[half] = _mm_cvtsi128_si32(t);
  }
  for (int half = 0; half < 2; ++half) {
    // The pack works on 128-bit lanes; the permutation puts the quarters back in order.
    const __m256i words = _mm256_packs_epi32(c[2 * half], c[2 * half + 1]);
    _mm256_store_si256(reinterpret_cast<__m256i*>(q.codes + 16 * half),
                       _mm256_permute4x64_epi64(words, 0xD8));
  }
  return q;
}

// Copies word i of `words` to to[i * rows].
template <int N>
void Scatter(const void* words, std::byte* to, int64_t rows) {
  for (int i = 0; i < N; ++i) {
    std::memcpy(to + 4 * i * rows, static_cast<const std::byte*>(words) + 4 * i, 4);
  }
}

// `group` is the group of row 0, `row` the row's number in a strip of `rows`.
void StoreGroup(const Quantized& q, int64_t row, int64_t rows, std::byte* group) {
  std::byte* at = group + 4 * row;
  Scatter<16>(q.codes, at + GroupOffsets::kCodes * rows, rows);
  const int32_t sum = q.sums[0] + q.sums[1];
  const float scaled_sum = q.scale * static_cast<float>(sum);
  std::memcpy(at + GroupOffsets::kScale * rows, &q.scale, 4);
  std::memcpy(at + GroupOffsets::kScaledSum * rows, &scaled_sum, 4);
  std::memcpy(at + GroupOffsets::kSum * rows, &sum, 4);
  Scatter<2>(q.sums, at + GroupOffsets::kHalfSums * rows, rows);
}

}  // namespace

int64_t FloatStripBytes(int64_t k) { return RoundUp64((k + k % 2) * kStripRows * 4); }

void PackFloatStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                    std::byte* packed_x) {
  auto* strip = reinterpret_cast<float*>(packed_x + m0 / kStripRows * FloatStripBytes(k));
  const int64_t rows = m1 - m0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + (m0 + r) * ldx;
    for (int64_t i = 0; i < k; ++i) strip[i * rows + r] = from[i];
    if (k % 2 != 0) strip[k * rows + r] = 0.0F;
  }
}

int64_t GroupStripBytes(int64_t k) {
  return RoundUp64(k / kGroup * GroupOffsets::kBytes * kStripRows);
}

void PackGroupStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                    std::byte* packed_x) {
  std::byte* strip = packed_x + m0 / kStripRows * GroupStripBytes(k);
  const int64_t rows = m1 - m0;
  for (int64_t g = 0; g < k / kGroup; ++g) {
    std::byte* group = strip + g * GroupOffsets::kBytes * rows;
    for (int64_t r = 0; r < rows; ++r) {
      StoreGroup(Quantize(x + (m0 + r) * ldx + g * kGroup), r, rows, group);
    }
  }
}

}  // namespace inhouse::engine::avx2
