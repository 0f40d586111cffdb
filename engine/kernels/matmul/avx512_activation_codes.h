// Activations as integer codes for VPDPBUSD: x ~ scale * code in groups of 32 or 128 columns, with
// one plane of int8 (8 bits) or two (16 bits: code = 256 * high + low).
//
// scale = max|x| / 127, or max|x| / 32512 (= 127 * 256). A group with an Inf or a NaN gets the
// scale NaN, so that the outputs of that row are NaN and nothing else is. Columns behind the end
// are zero.
#pragma once

#include "engine/kernels/matmul/avx512_strips.h"
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

// A smaller maximum is scaled up before codes are made: code_max / max would overflow.
constexpr float kLeastMax = 0x1p-100F;

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
  if (max >= kLeastMax) {
    factor = code_max / max;
  } else if (max > 0) {
    Unroll<static_cast<int>(kVectors)>([&](auto i) INHOUSE_INLINE_LAMBDA {
      x[i] = _mm512_mul_ps(x[i], _mm512_set1_ps(0x1p100F));
    });
    factor = code_max / (max * 0x1p100F);
  }
  return max / code_max;
}

// 16 codes, in the words of one plane or of two.
template <typename L>
INHOUSE_INLINE void PutCodes(__m512i code, uint32_t* words) {
  // low = the lower byte as int8; high = (code - low) / 256, that is (code + 128) >> 8.
  __m512i high = code;
  if constexpr (L::kPlanes == 2) {
    high = _mm512_srai_epi32(_mm512_add_epi32(code, _mm512_set1_epi32(128)), 8);
    _mm_store_si128(reinterpret_cast<__m128i*>(words + L::kCodeWords), _mm512_cvtepi32_epi8(code));
  }
  _mm_store_si128(reinterpret_cast<__m128i*>(words), _mm512_cvtepi32_epi8(high));
}

// The words of one group of a row of k columns, from column i on.
template <typename L>
INHOUSE_INLINE void CodeGroup(const float* row, int64_t i, int64_t k, uint32_t* words) {
  constexpr int kVectors = L::kColumns / 16;
  __m512 v[static_cast<size_t>(kVectors)];
  Unroll<kVectors>([&](auto j) INHOUSE_INLINE_LAMBDA { v[j] = LoadColumns(row, i + 16 * j, k); });
  float inverse = 0;
  const float scale = ScaleOf(L::kCodeMax, v, inverse);
  const __m512 factor = _mm512_set1_ps(inverse);
  __m512i sums = _mm512_setzero_si512();
  int first = 0;
  Unroll<kVectors>([&](auto j) INHOUSE_INLINE_LAMBDA {
    const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(v[j], factor));
    if constexpr (L::kColumns == 32 && j == 0) first = _mm512_reduce_add_epi32(code);
    sums = _mm512_add_epi32(sums, code);
    PutCodes<L>(code, words + 4 * j);
  });
  const int sum = _mm512_reduce_add_epi32(sums);
  const float scaled_sum = scale * static_cast<float>(sum);
  __builtin_memcpy(&words[L::kScale], &scale, 4);
  words[L::kOffset] = static_cast<uint32_t>(-128 * sum);
  words[L::kHalf] = static_cast<uint32_t>(-128 * first);
  __builtin_memcpy(&words[L::kSum], &scaled_sum, 4);
}

// Lane g of the result: all lanes of v[g], put together by `op`.
template <typename Op>
INHOUSE_INLINE __m128i ReduceFour(const __m512i (&v)[4], const Op& op) {
  const __m512i ab = op(_mm512_unpacklo_epi32(v[0], v[1]), _mm512_unpackhi_epi32(v[0], v[1]));
  const __m512i cd = op(_mm512_unpacklo_epi32(v[2], v[3]), _mm512_unpackhi_epi32(v[2], v[3]));
  const __m512i abcd = op(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
  const __m512i two = op(abcd, _mm512_shuffle_i64x2(abcd, abcd, 0b01'00'11'10));
  return _mm512_castsi512_si128(op(two, _mm512_shuffle_i64x2(two, two, 0b00'00'00'01)));
}

// The same words as CodeGroup<L> gives, of four groups of 32 at a time; false, and nothing written,
// where one of them has to be scaled up or cleared first.
template <typename L>
INHOUSE_INLINE bool CodeFourGroups(const float* row, int64_t i, int64_t k, uint32_t* words) {
  const auto add = [](__m512i a, __m512i b)
                       INHOUSE_INLINE_LAMBDA { return _mm512_add_epi32(a, b); };
  const auto larger = [](__m512i a, __m512i b)
                          INHOUSE_INLINE_LAMBDA { return _mm512_max_epu32(a, b); };
  const __m512i magnitude = _mm512_set1_epi32(0x7FFFFFFF);
  __m512 v[8];
  __m512i max[4];
  Unroll<4>([&](auto g) INHOUSE_INLINE_LAMBDA {
    v[2 * g] = LoadColumns(row, i + 32 * g, k);
    v[2 * g + 1] = LoadColumns(row, i + 32 * g + 16, k);
    max[g] = larger(_mm512_and_si512(_mm512_castps_si512(v[2 * g]), magnitude),
                    _mm512_and_si512(_mm512_castps_si512(v[2 * g + 1]), magnitude));
  });
  const __m128i max_bits = ReduceFour(max, larger);
  const __m128i least = _mm_castps_si128(_mm_set1_ps(kLeastMax));
  const __m128i infinity = _mm_castps_si128(_mm_set1_ps(__builtin_inff()));
  const __m128i above = _mm_sub_epi32(max_bits, least);
  const __m128i range = _mm_sub_epi32(infinity, least);
  if (_mm_cmplt_epu32_mask(above, range) != 0xF) return false;

  const __m128 code_max = _mm_set1_ps(L::kCodeMax);
  const __m128 scale = _mm_div_ps(_mm_castsi128_ps(max_bits), code_max);
  const __m512 factors = _mm512_castps128_ps512(_mm_div_ps(code_max, _mm_castsi128_ps(max_bits)));
  __m512i first[4];
  __m512i sums[4];
  Unroll<8>([&](auto j) INHOUSE_INLINE_LAMBDA {
    constexpr int kGroup = decltype(j)::value / 2;
    constexpr int kHalf = decltype(j)::value % 2;
    const __m512 factor = _mm512_permutexvar_ps(_mm512_set1_epi32(kGroup), factors);
    const __m512i code = _mm512_cvtps_epi32(_mm512_mul_ps(v[j], factor));
    if constexpr (kHalf == 0) {
      first[kGroup] = code;
    } else {
      sums[kGroup] = add(first[kGroup], code);
    }
    PutCodes<L>(code, words + kGroup * L::kWords + 4 * kHalf);
  });
  const __m128i sum = ReduceFour(sums, add);
  const __m128 scaled_sum = _mm_mul_ps(scale, _mm_cvtepi32_ps(sum));
  const auto times_minus_128 = [](__m128i n) INHOUSE_INLINE_LAMBDA {
    return _mm_castsi128_ps(_mm_slli_epi32(_mm_sub_epi32(_mm_setzero_si128(), n), 7));
  };
  __m128 fields[4] = {scale, times_minus_128(sum), times_minus_128(ReduceFour(first, add)),
                      scaled_sum};
  _MM_TRANSPOSE4_PS(fields[0], fields[1], fields[2], fields[3]);
  Unroll<4>([&](auto g) INHOUSE_INLINE_LAMBDA {
    _mm_store_ps(reinterpret_cast<float*>(words + g * L::kWords + L::kScale), fields[g]);
  });
  return true;
}

// Words w to w + count of a row of k columns: whole groups.
template <typename L>
INHOUSE_INLINE void CodeRow(const float* row, int64_t w, int64_t count, int64_t k, uint32_t* out) {
  int64_t i = w / L::kWords * L::kColumns;
  const uint32_t* end = out + count;
  if constexpr (L::kColumns == 32) {
    for (; end - out >= 4 * L::kWords; out += 4 * L::kWords, i += 128) {
      if (CodeFourGroups<L>(row, i, k, out)) continue;
      for (int g = 0; g < 4; ++g) CodeGroup<L>(row, i + 32 * g, k, out + g * L::kWords);
    }
  }
  for (; out != end; out += L::kWords, i += L::kColumns) CodeGroup<L>(row, i, k, out);
}

template <typename L>
inline void PackStripCodes(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/,
                           int64_t k, std::byte* packed_x) {
  constexpr int kGroups = 512 / L::kColumns;  // at once
  PackStripWords<kGroups * L::kWords>(
      x, ldx, m0, m1, L::Groups(k) * L::kWords,
      reinterpret_cast<uint32_t*>(packed_x + m0 / kStripRows * L::StripBytes(k)),
      [k](const float* row, int64_t i, int64_t count, uint32_t* out)
          INHOUSE_INLINE_LAMBDA { CodeRow<L>(row, i, count, k, out); });
}

}  // namespace
}  // namespace inhouse::engine
