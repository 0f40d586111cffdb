// Four float lanes on AArch64 Advanced SIMD. Only for translation units of the NEON levels. The
// anonymous namespace gives everything that is instantiated with Neon internal linkage.
#pragma once

#include <arm_neon.h>

#include <cstdint>
#include <cstring>

#include "engine/kernels/elementwise/stored_types.h"

namespace inhouse::engine {
namespace {

struct Neon {
  using Reg = float32x4_t;
  static constexpr int kLanes = 4;
  static constexpr const char* kName = "neon";

  static Reg Set(float value) { return vdupq_n_f32(value); }
  static Reg Load(const float* p) { return vld1q_f32(p); }
  static void Store(float* p, Reg v) { vst1q_f32(p, v); }
  // The first n lanes, 1 <= n <= kLanes; the others are zero, and their memory is not touched.
  static Reg LoadN(const float* p, int64_t n) {
    float lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(float));
    return Load(lanes);
  }
  static void StoreN(float* p, Reg v, int64_t n) {
    float lanes[kLanes];
    Store(lanes, v);
    std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(float));
  }

  // F16, rounded to nearest even when stored.
  static Reg Load(const uint16_t* p) { return vcvt_f32_f16(vreinterpret_f16_u16(vld1_u16(p))); }
  static Reg LoadN(const uint16_t* p, int64_t n) {
    uint16_t lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(uint16_t));
    return Load(lanes);
  }
  static void Store(uint16_t* p, Reg v) { vst1_u16(p, vreinterpret_u16_f16(vcvt_f16_f32(v))); }
  static void StoreN(uint16_t* p, Reg v, int64_t n) {
    uint16_t lanes[kLanes];
    Store(lanes, v);
    std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(uint16_t));
  }

  static Reg Load(const Bf16* p) {
    const uint16x4_t codes = vld1_u16(reinterpret_cast<const uint16_t*>(p));
    return vreinterpretq_f32_u32(vshll_n_u16(codes, 16));
  }
  static Reg LoadN(const Bf16* p, int64_t n) {
    Bf16 lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(Bf16));
    return Load(lanes);
  }
  // To nearest even; NaN stays a quiet NaN.
  static void Store(Bf16* p, Reg v) {
    const uint32x4_t bits = vreinterpretq_u32_f32(v);
    const uint32x4_t odd = vandq_u32(vshrq_n_u32(bits, 16), vdupq_n_u32(1));
    const uint32x4_t rounded = vaddq_u32(vaddq_u32(bits, vdupq_n_u32(0x7FFF)), odd);
    const uint32x4_t quiet = vorrq_u32(bits, vdupq_n_u32(0x400000));
    const uint32x4_t codes = vbslq_u32(vceqq_f32(v, v), rounded, quiet);
    vst1_u16(reinterpret_cast<uint16_t*>(p), vshrn_n_u32(codes, 16));
  }
  static void StoreN(Bf16* p, Reg v, int64_t n) {
    Bf16 lanes[kLanes];
    Store(lanes, v);
    std::memcpy(p, lanes, static_cast<size_t>(n) * sizeof(Bf16));
  }

  // Sign, exponent and mantissa of E4M3 in the places of F16's: its exponent counts from 8 less.
  static Reg Load(const E4M3* p) {
    uint32_t word;
    std::memcpy(&word, p, sizeof(word));
    const int16x8_t codes = vmovl_s8(vreinterpret_s8_u32(vdup_n_u32(word)));
    const int16x4_t wide = vshl_n_s16(vget_low_s16(codes), 7);
    return vcvt_f32_f16(vreinterpret_f16_s16(vand_s16(wide, vdup_n_s16(-0x4001))));
  }
  static Reg LoadN(const E4M3* p, int64_t n) {
    E4M3 lanes[kLanes] = {};
    std::memcpy(lanes, p, static_cast<size_t>(n) * sizeof(E4M3));
    return Load(lanes);
  }

  static Reg Add(Reg a, Reg b) { return vaddq_f32(a, b); }
  static Reg Sub(Reg a, Reg b) { return vsubq_f32(a, b); }
  static Reg Mul(Reg a, Reg b) { return vmulq_f32(a, b); }
  static Reg Div(Reg a, Reg b) { return vdivq_f32(a, b); }
  static Reg Fma(Reg a, Reg b, Reg c) { return vfmaq_f32(c, a, b); }
  static Reg FmSub(Reg a, Reg b, Reg c) { return vfmaq_f32(vnegq_f32(c), a, b); }
  // a b - c in even lanes, a b + c in odd lanes.
  static Reg FmAddSub(Reg a, Reg b, Reg c) {
    const uint32x4_t even_signs = vreinterpretq_u32_u64(vdupq_n_u64(0x80000000U));
    const Reg addend = vreinterpretq_f32_u32(veorq_u32(vreinterpretq_u32_f32(c), even_signs));
    return vfmaq_f32(addend, a, b);
  }
  // The larger one; the second if one is NaN (FMAX would give NaN).
  static Reg Max(Reg a, Reg b) { return vbslq_f32(vcgtq_f32(a, b), a, b); }

  // Lanes from n on (n may be negative or beyond the last lane) become `fill`.
  static Reg KeepFirst(Reg v, int64_t n, float fill) {
    const int32_t kept = n < 0 ? 0 : n > kLanes ? kLanes : static_cast<int32_t>(n);
    const int32x4_t index = {0, 1, 2, 3};
    return vbslq_f32(vcltq_s32(index, vdupq_n_s32(kept)), v, Set(fill));
  }
  // (1, 0, 3, 2)
  static Reg SwapPairs(Reg v) { return vrev64q_f32(v); }
  // (p[0], p[0], p[1], p[1]): half as many floats as lanes.
  static Reg LoadTwice(const float* p) {
    const float32x2_t v = vld1_f32(p);
    return vcombine_f32(vdup_lane_f32(v, 0), vdup_lane_f32(v, 1));
  }
  // Bit i is set where lane i is equal.
  static uint32_t EqualLanes(Reg a, Reg b) {
    const uint32x4_t bits = {1, 2, 4, 8};
    return vaddvq_u32(vandq_u32(vceqq_f32(a, b), bits));
  }

  // Reductions in one fixed order: halves first.
  static float ReduceAdd(Reg v) {
    const float32x2_t s = vadd_f32(vget_low_f32(v), vget_high_f32(v));
    return vget_lane_f32(s, 0) + vget_lane_f32(s, 1);
  }
  static float ReduceMax(Reg v) {
    const Reg s = Max(v, vextq_f32(v, v, 2));
    return vgetq_lane_f32(Max(s, vextq_f32(s, s, 1)), 0);
  }

  // exp within 1e-7 relative; 0 and infinity beyond the range of float; NaN stays NaN.
  // Cody & Waite reduction x = n ln 2 + r and the polynomial of Cephes expf.
  static Reg Exp(Reg x) {
    x = Max(Set(-104.0F), x);
    x = vbslq_f32(vcltq_f32(Set(89.0F), x), Set(89.0F), x);  // NaN passes
    const Reg n = vrndnq_f32(vmulq_f32(x, Set(1.44269504088896341F)));
    Reg r = vfmsq_f32(x, n, Set(0.693359375F));
    r = vfmsq_f32(r, n, Set(-2.12194440e-4F));
    Reg p = Set(1.9875691500e-4F);
    p = Fma(p, r, Set(1.3981999507e-3F));
    p = Fma(p, r, Set(8.3334519073e-3F));
    p = Fma(p, r, Set(4.1665795894e-2F));
    p = Fma(p, r, Set(1.6666665459e-1F));
    p = Fma(p, r, Set(5.0000001201e-1F));
    p = Add(Fma(p, Mul(r, r), r), Set(1.0F));
    // 2^n in two factors, so that subnormal results and infinity come out of the last product.
    const int32x4_t exponent = vcvtq_s32_f32(n);
    const int32x4_t half = vshrq_n_s32(exponent, 1);
    return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(vsubq_s32(exponent, half)));
  }

  // 2^x for x <= 0 within 1e-7 relative; 0 below the range of float; NaN stays NaN. A polynomial
  // (Chebyshev, degree 6) of the fraction in [0, 1).
  static Reg Exp2(Reg x) {
    x = Max(Set(-160.0F), x);  // NaN passes
    const Reg n = vrndmq_f32(x);
    const Reg r = Sub(x, n);
    Reg p = Set(2.08291953e-4F);
    p = Fma(p, r, Set(1.26893516e-3F));
    p = Fma(p, r, Set(9.65244044e-3F));
    p = Fma(p, r, Set(5.54959364e-2F));
    p = Fma(p, r, Set(2.40227222e-1F));
    p = Fma(p, r, Set(6.93147182e-1F));
    p = Fma(p, r, Set(1.0F));
    const int32x4_t exponent = vcvtq_s32_f32(n);  // as in Exp
    const int32x4_t half = vshrq_n_s32(exponent, 1);
    return Mul(Mul(p, PowerOfTwo(half)), PowerOfTwo(vsubq_s32(exponent, half)));
  }

 private:
  static Reg PowerOfTwo(int32x4_t n) {
    return vreinterpretq_f32_s32(vshlq_n_s32(vaddq_s32(n, vdupq_n_s32(127)), 23));
  }
};

}  // namespace
}  // namespace inhouse::engine
