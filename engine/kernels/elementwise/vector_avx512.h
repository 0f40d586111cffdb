// Sixteen float lanes on AVX-512 F BW VL DQ. Only for translation units that are compiled with
// these flags; the anonymous namespace keeps the code in them (vector_avx2.h).
#pragma once

#include <immintrin.h>

#include <cstdint>

#include "engine/kernels/elementwise/stored_types.h"

namespace inhouse::engine {
namespace {

struct Avx512 {
  using Reg = __m512;
  static constexpr int kLanes = 16;
  static constexpr const char* kName = "avx512";

  static Reg Set(float value) { return _mm512_set1_ps(value); }
  static Reg Load(const float* p) { return _mm512_loadu_ps(p); }
  static void Store(float* p, Reg v) { _mm512_storeu_ps(p, v); }
  // The first n lanes, 1 <= n <= kLanes; the others are zero, and their memory is not touched.
  static Reg LoadN(const float* p, int64_t n) { return _mm512_maskz_loadu_ps(FirstLanes(n), p); }
  static void StoreN(float* p, Reg v, int64_t n) { _mm512_mask_storeu_ps(p, FirstLanes(n), v); }

  static Reg Load(const uint16_t* p) {
    return _mm512_cvtph_ps(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Reg LoadN(const uint16_t* p, int64_t n) {
    return _mm512_cvtph_ps(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
  }
  static void Store(uint16_t* p, Reg v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ToF16(v));
  }
  static void StoreN(uint16_t* p, Reg v, int64_t n) {
    _mm256_mask_storeu_epi16(p, FirstLanes(n), ToF16(v));
  }

  static Reg Load(const Bf16* p) {
    return FromBf16(_mm256_loadu_si256(reinterpret_cast<const __m256i*>(p)));
  }
  static Reg LoadN(const Bf16* p, int64_t n) {
    return FromBf16(_mm256_maskz_loadu_epi16(FirstLanes(n), p));
  }
  static void Store(Bf16* p, Reg v) {
    _mm256_storeu_si256(reinterpret_cast<__m256i*>(p), ToBf16(v));
  }
  static void StoreN(Bf16* p, Reg v, int64_t n) {
    _mm256_mask_storeu_epi16(p, FirstLanes(n), ToBf16(v));
  }

  static Reg Load(const E4M3* p) {
    return FromE4M3(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg LoadN(const E4M3* p, int64_t n) {
    return FromE4M3(_mm_maskz_loadu_epi8(FirstLanes(n), p));
  }

  static Reg Add(Reg a, Reg b) { return _mm512_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm512_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm512_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm512_div_ps(a, b); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm512_fmadd_ps(a, b, c); }
  static Reg FmSub(Reg a, Reg b, Reg c) { return _mm512_fmsub_ps(a, b, c); }
  // a b - c in even lanes, a b + c in odd lanes.
  static Reg FmAddSub(Reg a, Reg b, Reg c) { return _mm512_fmaddsub_ps(a, b, c); }
  // The larger one; the second if one is NaN.
  static Reg Max(Reg a, Reg b) { return _mm512_max_ps(a, b); }

  // Lanes from n on (n may be negative or beyond the last lane) become `fill`.
  static Reg KeepFirst(Reg v, int64_t n, float fill) {
    const int64_t kept = n < 0 ? 0 : n > kLanes ? kLanes : n;
    return _mm512_mask_mov_ps(Set(fill), FirstLanes(kept), v);
  }
  // (1, 0, 3, 2, ...)
  static Reg SwapPairs(Reg v) { return _mm512_permute_ps(v, 0xB1); }
  // (p[0], p[0], p[1], p[1], ...): half as many floats as lanes.
  static Reg LoadTwice(const float* p) {
    const __m512i index = _mm512_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3, 4, 4, 5, 5, 6, 6, 7, 7);
    return _mm512_permutexvar_ps(index, _mm512_castps256_ps512(_mm256_loadu_ps(p)));
  }
  // Bit i is set where lane i is equal.
  static uint32_t EqualLanes(Reg a, Reg b) { return _mm512_cmp_ps_mask(a, b, _CMP_EQ_OQ); }

  // Reductions in one fixed order: halves first.
  static float ReduceAdd(Reg v) {
    const __m256 s = _mm256_add_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 t = _mm_add_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_add_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_add_ss(t, _mm_movehdup_ps(t)));
  }
  static float ReduceMax(Reg v) {
    const __m256 s = _mm256_max_ps(_mm512_castps512_ps256(v), _mm512_extractf32x8_ps(v, 1));
    __m128 t = _mm_max_ps(_mm256_castps256_ps128(s), _mm256_extractf128_ps(s, 1));
    t = _mm_max_ps(t, _mm_movehl_ps(t, t));
    return _mm_cvtss_f32(_mm_max_ss(t, _mm_movehdup_ps(t)));
  }

  // exp within 1e-7 relative; 0 and infinity beyond the range of float; NaN stays NaN.
  // Cody & Waite reduction x = n ln 2 + r and the polynomial of Cephes expf.
  static Reg Exp(Reg x) {
    // NaN passes because min and max return their second argument then.
    x = _mm512_min_ps(Set(89.0F), _mm512_max_ps(Set(-104.0F), x));
    const __m512 n = _mm512_roundscale_ps(_mm512_mul_ps(x, Set(1.44269504088896341F)),
                                          _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m512 r = _mm512_fnmadd_ps(n, Set(0.693359375F), x);
    r = _mm512_fnmadd_ps(n, Set(-2.12194440e-4F), r);
    __m512 p = Set(1.9875691500e-4F);
    p = Fma(p, r, Set(1.3981999507e-3F));
    p = Fma(p, r, Set(8.3334519073e-3F));
    p = Fma(p, r, Set(4.1665795894e-2F));
    p = Fma(p, r, Set(1.6666665459e-1F));
    p = Fma(p, r, Set(5.0000001201e-1F));
    p = Add(Fma(p, Mul(r, r), r), Set(1.0F));
    return _mm512_scalef_ps(p, n);
  }

  // 2^x for x <= 0 within 1e-7 relative; 0 below the range of float; NaN stays NaN. A polynomial
  // (Chebyshev, degree 6) of the fraction in [0, 1).
  static Reg Exp2(Reg x) {
    const __m512 r = _mm512_reduce_ps(x, _MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC);  // inf: 0
    __m512 p = Set(2.08291953e-4F);
    p = Fma(p, r, Set(1.26893516e-3F));
    p = Fma(p, r, Set(9.65244044e-3F));
    p = Fma(p, r, Set(5.54959364e-2F));
    p = Fma(p, r, Set(2.40227222e-1F));
    p = Fma(p, r, Set(6.93147182e-1F));
    p = Fma(p, r, Set(1.0F));
    return _mm512_scalef_ps(p, x);  // times 2^floor(x)
  }

 private:
  static __mmask16 FirstLanes(int64_t n) { return static_cast<__mmask16>((1U << n) - 1); }
  static __m256i ToF16(Reg v) {
    return _mm512_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
  }
  static Reg FromBf16(__m256i v) {
    return _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(v), 16));
  }
  // To nearest even; NaN stays a quiet NaN.
  static __m256i ToBf16(Reg v) {
    const __m512i bits = _mm512_castps_si512(v);
    const __m512i odd = _mm512_and_si512(_mm512_srli_epi32(bits, 16), _mm512_set1_epi32(1));
    const __m512i rounded =
        _mm512_add_epi32(_mm512_add_epi32(bits, _mm512_set1_epi32(0x7FFF)), odd);
    const __mmask16 nan = _mm512_cmp_ps_mask(v, v, _CMP_UNORD_Q);
    const __m512i quiet = _mm512_or_si512(bits, _mm512_set1_epi32(0x400000));
    return _mm512_cvtepi32_epi16(_mm512_srli_epi32(_mm512_mask_mov_epi32(rounded, nan, quiet), 16));
  }
  // Sign, exponent and mantissa of E4M3 in the places of F16's: its exponent counts from 8 less.
  static Reg FromE4M3(__m128i v) {
    const __m256i wide = _mm256_slli_epi16(_mm256_cvtepi8_epi16(v), 7);
    return _mm512_cvtph_ps(_mm256_and_si256(wide, _mm256_set1_epi16(int16_t{-0x4001})));
  }
};

}  // namespace
}  // namespace inhouse::engine
