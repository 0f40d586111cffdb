// Eight float lanes on AVX2 + FMA + F16C. Only for translation units that are compiled with these
// flags. The anonymous namespace gives everything that is instantiated with Avx2 internal
// linkage, so that the linker can never hand AVX2 code to another translation unit.
#pragma once

#include <immintrin.h>

#include <cstdint>
#include <cstring>

#include "engine/kernels/elementwise/stored_types.h"

namespace inhouse::engine {
namespace {

struct Avx2 {
  using Reg = __m256;
  static constexpr int kLanes = 8;
  static constexpr const char* kName = "avx2";

  static Reg Set(float value) { return _mm256_set1_ps(value); }
  static Reg Load(const float* p) { return _mm256_loadu_ps(p); }
  static void Store(float* p, Reg v) { _mm256_storeu_ps(p, v); }
  // The first n lanes, 1 <= n <= kLanes; the others are zero, and their memory is not touched.
  static Reg LoadN(const float* p, int64_t n) { return _mm256_maskload_ps(p, FirstLanes(n)); }
  static void StoreN(float* p, Reg v, int64_t n) { _mm256_maskstore_ps(p, FirstLanes(n), v); }

  static Reg Load(const uint16_t* p) {
    return _mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p)));
  }
  static Reg LoadN(const uint16_t* p, int64_t n) {
    uint16_t lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(uint16_t));
    return Load(lanes);
  }
  static void Store(uint16_t* p, Reg v) {
    _mm_storeu_si128(reinterpret_cast<__m128i*>(p),
                     _mm256_cvtps_ph(v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC));
  }
  static void StoreN(uint16_t* p, Reg v, int64_t n) {
    uint16_t lanes[kLanes];
    Store(lanes, v);
    std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(uint16_t));
  }

  static Reg Load(const Bf16* p) {
    const __m128i codes = _mm_loadu_si128(reinterpret_cast<const __m128i*>(p));
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_cvtepu16_epi32(codes), 16));
  }
  static Reg LoadN(const Bf16* p, int64_t n) {
    Bf16 lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(Bf16));
    return Load(lanes);
  }
  // To nearest even; NaN stays a quiet NaN.
  static void Store(Bf16* p, Reg v) {
    const __m256i bits = _mm256_castps_si256(v);
    const __m256i odd = _mm256_and_si256(_mm256_srli_epi32(bits, 16), _mm256_set1_epi32(1));
    const __m256i rounded =
        _mm256_add_epi32(_mm256_add_epi32(bits, _mm256_set1_epi32(0x7FFF)), odd);
    const __m256i nan = _mm256_castps_si256(_mm256_cmp_ps(v, v, _CMP_UNORD_Q));
    const __m256i quiet = _mm256_or_si256(bits, _mm256_set1_epi32(0x400000));
    const __m256i codes = _mm256_srli_epi32(_mm256_blendv_epi8(rounded, quiet, nan), 16);
    _mm_storeu_si128(
        reinterpret_cast<__m128i*>(p),
        _mm_packus_epi32(_mm256_castsi256_si128(codes), _mm256_extracti128_si256(codes, 1)));
  }
  static void StoreN(Bf16* p, Reg v, int64_t n) {
    Bf16 lanes[kLanes];
    Store(lanes, v);
    std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(Bf16));
  }

  // Sign, exponent and mantissa of E4M3 in the places of F16's: its exponent counts from 8 less.
  static Reg Load(const E4M3* p) {
    const __m128i codes = _mm_loadl_epi64(reinterpret_cast<const __m128i*>(p));
    const __m128i wide = _mm_slli_epi16(_mm_cvtepi8_epi16(codes), 7);
    return _mm256_cvtph_ps(_mm_and_si128(wide, _mm_set1_epi16(int16_t{-0x4001})));
  }
  static Reg LoadN(const E4M3* p, int64_t n) {
    E4M3 lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(E4M3));
    return Load(lanes);
  }

  static Reg Add(Reg a, Reg b) { return _mm256_add_ps(a, b); }
  static Reg Sub(Reg a, Reg b) { return _mm256_sub_ps(a, b); }
  static Reg Mul(Reg a, Reg b) { return _mm256_mul_ps(a, b); }
  static Reg Div(Reg a, Reg b) { return _mm256_div_ps(a, b); }
  static Reg Fma(Reg a, Reg b, Reg c) { return _mm256_fmadd_ps(a, b, c); }
  static Reg FmSub(Reg a, Reg b, Reg c) { return _mm256_fmsub_ps(a, b, c); }
  // a b - c in even lanes, a b + c in odd lanes.
  static Reg FmAddSub(Reg a, Reg b, Reg c) { return _mm256_fmaddsub_ps(a, b, c); }
  // The larger one; the second if one is NaN.
  static Reg Max(Reg a, Reg b) { return _mm256_max_ps(a, b); }

  // Lanes from n on (n may be negative or beyond the last lane) become `fill`.
  static Reg KeepFirst(Reg v, int64_t n, float fill) {
    const int64_t kept = n < 0 ? 0 : n > kLanes ? kLanes : n;
    return _mm256_blendv_ps(Set(fill), v, _mm256_castsi256_ps(FirstLanes(kept)));
  }
  // (1, 0, 3, 2, ...)
  static Reg SwapPairs(Reg v) { return _mm256_permute_ps(v, 0xB1); }
  // (p[0], p[0], p[1], p[1], ...): half as many floats as lanes.
  static Reg LoadTwice(const float* p) {
    const __m256 v = _mm256_castps128_ps256(_mm_loadu_ps(p));
    return _mm256_permutevar8x32_ps(v, _mm256_setr_epi32(0, 0, 1, 1, 2, 2, 3, 3));
  }
  // Bit i is set where lane i is equal.
  static uint32_t EqualLanes(Reg a, Reg b) {
    return static_cast<uint32_t>(_mm256_movemask_ps(_mm256_cmp_ps(a, b, _CMP_EQ_OQ)));
  }

  // Reductions in one fixed order: halves first.
  static float ReduceAdd(Reg v) {
    __m128 s = _mm_add_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_add_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_add_ss(s, _mm_movehdup_ps(s)));
  }
  static float ReduceMax(Reg v) {
    __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
    s = _mm_max_ps(s, _mm_movehl_ps(s, s));
    return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
  }

  // exp within 1e-7 relative; 0 and infinity beyond the range of float; NaN stays NaN.
  // Cody & Waite reduction x = n ln 2 + r and the polynomial of Cephes expf.
  static Reg Exp(Reg x) {
    // NaN passes because min and max return their second argument then.
    x = _mm256_min_ps(Set(89.0F), _mm256_max_ps(Set(-104.0F), x));
    const __m256 n = _mm256_round_ps(_mm256_mul_ps(x, Set(1.44269504088896341F)),
                                     _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC);
    __m256 r = _mm256_fnmadd_ps(n, Set(0.693359375F), x);
    r = _mm256_fnmadd_ps(n, Set(-2.12194440e-4F), r);
    __m256 p = Set(1.9875691500e-4F);
    p = Fma(p, r, Set(1.3981999507e-3F));
    p = Fma(p, r, Set(8.3334519073e-3F));
    p = Fma(p, r, Set(4.1665795894e-2F));
    p = Fma(p, r, Set(1.6666665459e-1F));
    p = Fma(p, r, Set(5.0000001201e-1F));
    p = Add(Fma(p, Mul(r, r), r), Set(1.0F));
    // 2^n in two factors, so that subnormal results and infinity come out of the last product.
    const __m256i exponent = _mm256_cvtps_epi32(n);
    const __m256i half = _mm256_srai_epi32(exponent, 1);
    return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(_mm256_sub_epi32(exponent, half)));
  }

  // 2^x for x <= 0 within 1e-7 relative; 0 below the range of float; NaN stays NaN. A polynomial
  // (Chebyshev, degree 6) of the fraction in [0, 1).
  static Reg Exp2(Reg x) {
    x = _mm256_max_ps(Set(-160.0F), x);  // NaN passes: max returns its second argument then
    const __m256 n = _mm256_floor_ps(x);
    const __m256 r = Sub(x, n);
    __m256 p = Set(2.08291953e-4F);
    p = Fma(p, r, Set(1.26893516e-3F));
    p = Fma(p, r, Set(9.65244044e-3F));
    p = Fma(p, r, Set(5.54959364e-2F));
    p = Fma(p, r, Set(2.40227222e-1F));
    p = Fma(p, r, Set(6.93147182e-1F));
    p = Fma(p, r, Set(1.0F));
    const __m256i exponent = _mm256_cvtps_epi32(n);  // as in Exp
    const __m256i half = _mm256_srai_epi32(exponent, 1);
    return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(_mm256_sub_epi32(exponent, half)));
  }

 private:
  static __m256i FirstLanes(int64_t n) {
    alignas(32) static constexpr int32_t kMasks[16] = {-1, -1, -1, -1, -1, -1, -1, -1,
                                                       0,  0,  0,  0,  0,  0,  0,  0};
    return _mm256_loadu_si256(reinterpret_cast<const __m256i*>(kMasks + kLanes - n));
  }
  static Reg PowerOfTwo(__m256i n) {
    return _mm256_castsi256_ps(_mm256_slli_epi32(_mm256_add_epi32(n, _mm256_set1_epi32(127)), 23));
  }
};

}  // namespace
}  // namespace inhouse::engine
