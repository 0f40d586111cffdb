// Activations as integer codes for VPDPBUSD: x ~ scale * code in groups of 32 or 128 columns, with
// one plane of int8 (8 bits) or two (16 bits: code = 256 * high + low).
//
// scale = max|x| / 127, or max|x| / 32512 (= 127 * 256). A group with an Inf or a NaN gets the
// scale NaN, so that the outputs of that row are NaN and nothing else is. Columns behind the end
// are zero.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

// A row's share of a group, in words of 32 bits; a strip interleaves the words of its rows.
template <int kPlanesOf, int kColumnsOf>
struct CodeLayout {
  static constexpr int kPlanes = kPlanesOf;
  static constexpr int kColumns = kColumnsOf;
  static constexpr int kCodeWords = kColumns / 4;  // of one plane, four codes a word, high first
  static constexpr int kScale = kPlanes * kCodeWords;  // float
  static constexpr int kOffset =
      kScale + 1;                           // int32: -128 * (sum of the codes), for w stored + 128
  static constexpr int kHalf = kScale + 2;  // int32: the same for the first 16 of 32 codes
  static constexpr int kSum = kScale + 3;   // float: scale * (sum of the codes), for minima
  static constexpr int kWords = kScale + 4;
  static constexpr float kCodeMax = kPlanes == 2 ? 32512.0F : 127.0F;

  static constexpr int64_t Groups(int64_t k) { return (k + kColumns - 1) / kColumns; }
  static constexpr int64_t StripBytes(int64_t k) {
    return RoundUp(Groups(k) * kWords * kStripRows * 4, 64);
  }
};

using Codes16 = CodeLayout<2, 32>;
using Codes16Wide = CodeLayout<2, 128>;
using Codes8 = CodeLayout<1, 32>;
using Codes8Wide = CodeLayout<1, 128>;

template <size_t kVectors>
INHOUSE_INLINE float MaxMagnitude(const __m512 (&x)[kVectors]) {
  // As integers the magnitudes order finite < Inf < NaN.
  const __m512i mask = _mm512_set1_epi32(0x7FFFFFFF);
  __m512i max = _mm512_setzero_si512();
  Unroll<static_cast<int>(kVectors)>([&](auto i) INHOUSE_INLINE_LAMBDA {
    max = _mm512_max_epu32(max, _mm512_and_si512(_mm512_castps_si512(x[i]), mask));
  });
  const uint32_t bits = _mm512_reduce_max_epu32(max);
  float value = 0;
  __builtin_memcpy(&value, &bits, sizeof(value));
  return value;
}

// The scale of a group, and the factor that turns it into codes; x is scaled up first where the
// factor would overflow, or cleared where it is not finite.
template <size_t kVectors>
INHOUSE_INLINE float ScaleOf(float code_max, __m512 (&x)[kVectors], float& factor) {
  const float max = MaxMagnitude(x);
  factor = 0;
  if (!(max <= 0x1.fffffep127F)) {
    Unroll<static_cast<int>(kVectors)>([&](auto i)
                                           INHOUSE_INLINE_LAMBDA { x[i] = _mm512_setzero_ps(); });
    return __builtin_nanf("");
  }
  if (max >= 0x1p-100F) {
    factor = code_max / max;
  } else if (max > 0) {
    Unroll<static_cast<int>(kVectors)>([&](auto i) INHOUSE_INLINE_LAMBDA {
      x[i] = _mm512_mul_ps(x[i], _mm512_set1_ps(0x1p100F));
    });
    factor = code_max / (max * 0x1p100F);
  }
  return max / code_max;
}

template <typename L>
struct CodedGroup {
  alignas(64) uint32_t words[static_cast<size_t>(L::kWords)];
};

// `valid` >= 1 columns exist.
template <typename L>
INHOUSE_INLINE void CodeGroup(const float* x, int64_t valid, CodedGroup<L>& out) {
  constexpr int kVectors = L::kColumns / 16;
  __m512 v[static_cast<size_t>(kVectors)];
  Unroll<kVectors>([&](auto i) INHOUSE_INLINE_LAMBDA {
    const int64_t left = valid - 16 * i;
    const uint32_t bits = left >= 16 ? 0xFFFFU : left <= 0 ? 0U : (1U << left) - 1U;
    v[i] = _mm512_maskz_loadu_ps(static_cast<__mmask16>(bits), x + 16 * i);
  });
  float inverse = 0;
  const float scale = ScaleOf(L::kCodeMax, v, inverse);
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i sums = _mm512_setzero_si512();
  int first = 0;
  Unroll<kVectors>([&](auto i) INHOUSE_INLINE_LAMBDA {
    const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(v[i], factor));
    if constexpr (L::kColumns == 32 && i == 0) first = _mm512_reduce_add_epi32(code);
    sums = _mm512_add_epi32(sums, code);
    // low = the lower byte as int8; high = (code - low) / 256, that is (code + 128) >> 8.
    __m512i high = code;
    if constexpr (L::kPlanes == 2) {
      high = _mm512_srai_epi32(_mm512_add_epi32(code, _mm512_set1_epi32(128)), 8);
      _mm_store_si128(reinterpret_cast<__m128i*>(out.words + L::kCodeWords + 4 * i),
                      _mm512_cvtepi32_epi8(code));
    }
    _mm_store_si128(reinterpret_cast<__m128i*>(out.words + 4 * i), _mm512_cvtepi32_epi8(high));
  });
  const int sum = _mm512_reduce_add_epi32(sums);
  const float scaled_sum = scale * static_cast<float>(sum);
  __builtin_memcpy(&out.words[L::kScale], &scale, 4);
  out.words[L::kOffset] = static_cast<uint32_t>(-128 * sum);
  out.words[L::kHalf] = static_cast<uint32_t>(-128 * first);
  __builtin_memcpy(&out.words[L::kSum], &scaled_sum, 4);
}

template <typename L>
inline void PackStripCodes(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/,
                           int64_t k, std::byte* packed_x) {
  const int64_t rows = m1 - m0;
  auto* out = reinterpret_cast<uint32_t*>(packed_x + m0 / kStripRows * L::StripBytes(k));
  for (int64_t g = 0; g < L::Groups(k); ++g, out += L::kWords * rows) {
    for (int64_t m = 0; m < rows; ++m) {
      CodedGroup<L> group;
      CodeGroup<L>(x + (m0 + m) * ldx + g * L::kColumns, k - g * L::kColumns, group);
      for (int64_t i = 0; i < L::kWords; ++i) out[i * rows + m] = group.words[i];
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
