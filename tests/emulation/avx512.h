// Instructions of AVX-512 F, BW, VL, DQ, VNNI, VBMI and BF16 in AVX2 or lane by lane, as the
// manuals define them (Intel SDM volume 2): what SIMDe 0.7.4 does not have, does not compute to the
// last bit (VSCALEFPS, VDPBF16PS), or computes so that GCC takes minutes. Their names come from
// immintrin.h beside this file.
//
// Aligned accesses end the process where the processor would: the halves of a register ask for
// less.
#pragma once

#include <immintrin.h>
#include <simde/x86/avx512.h>

#include <cstddef>
#include <cstdint>

#define INHOUSE_EMULATED static inline __attribute__((always_inline))

namespace inhouse::emulated {

// Vectors for conversions that the compiler writes.
template <typename T, int kLanes>
using Lanes [[gnu::vector_size(sizeof(T) * kLanes)]] = T;

// A register, its halves and its lanes.
union Register {
  __m512i i512;
  __m512 f512;
  __m256i i256[2];
  __m256 f256[2];
  int32_t i32[16];
  uint32_t u32[16];
  float f32[16];
};

INHOUSE_EMULATED const void* Aligned64(const void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0) __builtin_trap();
  return p;
}
INHOUSE_EMULATED void* Aligned64(void* p) {
  if (reinterpret_cast<uintptr_t>(p) % 64 != 0) __builtin_trap();
  return p;
}

// ---- Aligned accesses

INHOUSE_EMULATED __m512i Load(const void* p) { return simde_mm512_loadu_si512(Aligned64(p)); }
INHOUSE_EMULATED __m512 LoadFloats(const void* p) { return simde_mm512_loadu_ps(Aligned64(p)); }
INHOUSE_EMULATED void Store(void* p, __m512i v) { simde_mm512_storeu_si512(Aligned64(p), v); }
INHOUSE_EMULATED void StoreFloats(void* p, __m512 v) { simde_mm512_storeu_ps(Aligned64(p), v); }

// ---- Masked accesses: the memory of a lane that is masked out is not touched

// Lane i is all ones where bit i of the mask is set.
INHOUSE_EMULATED __m256i MaskOf8(uint32_t mask) {
  const __m256i bits = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
  return _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(static_cast<int>(mask)), bits),
                            bits);
}

INHOUSE_EMULATED __m512 LoadFloatsWhere(__mmask16 mask, const void* p) {
  const auto* from = static_cast<const float*>(p);
  Register r;
  r.f256[0] = _mm256_maskload_ps(from, MaskOf8(mask));
  r.f256[1] = _mm256_maskload_ps(from + 8, MaskOf8(mask >> 8));
  return r.f512;
}
INHOUSE_EMULATED void StoreFloatsWhere(void* p, __mmask16 mask, __m512 v) {
  auto* to = static_cast<float*>(p);
  Register r;
  r.f512 = v;
  _mm256_maskstore_ps(to, MaskOf8(mask), r.f256[0]);
  _mm256_maskstore_ps(to + 8, MaskOf8(mask >> 8), r.f256[1]);
}
INHOUSE_EMULATED void StoreWordsWhere(void* p, __mmask8 mask, __m128i v) {
  _mm_maskstore_epi32(static_cast<int*>(p), _mm256_castsi256_si128(MaskOf8(mask)), v);
}

// Any vector of lanes of type T.
template <typename T, typename Vector>
[[maybe_unused]] static Vector LoadWhere(uint64_t mask, const void* p) {
  constexpr int kLanes = sizeof(Vector) / sizeof(T);
  T lanes[size_t{kLanes}];
  for (int i = 0; i < kLanes; ++i) {
    lanes[i] = 0;
    if ((mask >> i & 1) != 0) {
      __builtin_memcpy(lanes + i, static_cast<const char*>(p) + i * int{sizeof(T)}, sizeof(T));
    }
  }
  Vector v;
  __builtin_memcpy(&v, lanes, sizeof(v));
  return v;
}
template <typename T, typename Vector>
[[maybe_unused]] static void StoreWhere(void* p, uint64_t mask, Vector v) {
  constexpr int kLanes = sizeof(Vector) / sizeof(T);
  T lanes[size_t{kLanes}];
  __builtin_memcpy(lanes, &v, sizeof(v));
  for (int i = 0; i < kLanes; ++i) {
    if ((mask >> i & 1) != 0) {
      __builtin_memcpy(static_cast<char*>(p) + i * int{sizeof(T)}, lanes + i, sizeof(T));
    }
  }
}

// ---- Conversions

// Lanes of From become lanes of To: widened, or cut to their low bits.
template <typename From, typename To, int kLanes, typename Result, typename Vector>
INHOUSE_EMULATED Result Convert(Vector v) {
  Lanes<From, kLanes> from;
  __builtin_memcpy(&from, &v, sizeof(from));
  const auto to = __builtin_convertvector(from, Lanes<To, kLanes>);
  Result result;
  static_assert(sizeof(from) == sizeof(v) && sizeof(to) == sizeof(result));
  __builtin_memcpy(&result, &to, sizeof(result));
  return result;
}

INHOUSE_EMULATED __m512 ToFloats(__m512i v) {
  Register r;
  r.i512 = v;
  for (int h = 0; h < 2; ++h) r.f256[h] = _mm256_cvtepi32_ps(r.i256[h]);
  return r.f512;
}
INHOUSE_EMULATED __m512i RoundToInts(__m512 v) {
  Register r;
  r.f512 = v;
  for (int h = 0; h < 2; ++h) r.i256[h] = _mm256_cvtps_epi32(r.f256[h]);
  return r.i512;
}
INHOUSE_EMULATED __m512 FromHalfFloats(__m256i v) {
  Register r;
  r.f256[0] = _mm256_cvtph_ps(_mm256_castsi256_si128(v));
  r.f256[1] = _mm256_cvtph_ps(_mm256_extracti128_si256(v, 1));
  return r.f512;
}
template <int kRounding>
INHOUSE_EMULATED __m256i ToHalfFloats(__m512 v) {
  Register r;
  r.f512 = v;
  return _mm256_setr_m128i(_mm256_cvtps_ph(r.f256[0], kRounding & 7),
                           _mm256_cvtps_ph(r.f256[1], kRounding & 7));
}

// ---- Lanes from other places

template <int kHalf>
INHOUSE_EMULATED __m256 ExtractHalf(__m512 v) {
  Register r;
  r.f512 = v;
  return r.f256[kHalf];
}
template <int kOrder>
INHOUSE_EMULATED __m512 Permute(__m512 v) {
  Register r;
  r.f512 = v;
  for (int h = 0; h < 2; ++h) r.f256[h] = _mm256_permute_ps(r.f256[h], kOrder);
  return r.f512;
}

// ---- Integers

INHOUSE_EMULATED __m512i ShiftRight(__m512i v, unsigned count) {
  Register r;
  r.i512 = v;
  for (int h = 0; h < 2; ++h) r.i256[h] = _mm256_srai_epi32(r.i256[h], static_cast<int>(count));
  return r.i512;
}
// Byte i is a + b where bit i of the mask is set, else that of `other`.
INHOUSE_EMULATED __m512i AddBytesWhere(__m512i other, __mmask64 mask, __m512i a, __m512i b) {
  const __m256i byte =
      _mm256_setr_epi64x(0, 0x0101010101010101, 0x0202020202020202, 0x0303030303030303);
  const __m256i bit = _mm256_set1_epi64x(static_cast<int64_t>(0x8040201008040201U));
  Register r, sum;
  r.i512 = other, sum.i512 = simde_mm512_add_epi8(a, b);
  for (int h = 0; h < 2; ++h) {
    const __m256i half = _mm256_set1_epi32(static_cast<int>(mask >> (32 * h)));
    const __m256i bits = _mm256_and_si256(_mm256_shuffle_epi8(half, byte), bit);
    r.i256[h] = _mm256_blendv_epi8(r.i256[h], sum.i256[h], _mm256_cmpeq_epi8(bits, bit));
  }
  return r.i512;
}
// Lane i is that of v where bit i of the mask is set, else that of `other`.
INHOUSE_EMULATED __m512 Choose(__m512 other, __mmask16 mask, __m512 v) {
  Register r, x;
  r.f512 = other, x.f512 = v;
  for (int h = 0; h < 2; ++h) {
    const __m256 where = _mm256_castsi256_ps(MaskOf8(static_cast<uint32_t>(mask) >> (8 * h)));
    r.f256[h] = _mm256_blendv_ps(r.f256[h], x.f256[h], where);
  }
  return r.f512;
}
// VPDPBUSD: each lane plus the sum of its four products of an unsigned and a signed byte. Even and
// odd bytes as 16-bit lanes: nothing saturates.
INHOUSE_EMULATED __m512i DotBytes(__m512i acc, __m512i u8, __m512i s8) {
  Register sum, x, y;
  sum.i512 = acc, x.i512 = u8, y.i512 = s8;
  for (int h = 0; h < 2; ++h) {
    const __m256i x_even = _mm256_and_si256(x.i256[h], _mm256_set1_epi16(0xFF));
    const __m256i y_even = _mm256_srai_epi16(_mm256_slli_epi16(y.i256[h], 8), 8);
    const __m256i x_odd = _mm256_srli_epi16(x.i256[h], 8);
    const __m256i y_odd = _mm256_srai_epi16(y.i256[h], 8);
    const __m256i dot =
        _mm256_add_epi32(_mm256_madd_epi16(x_even, y_even), _mm256_madd_epi16(x_odd, y_odd));
    sum.i256[h] = _mm256_add_epi32(sum.i256[h], dot);
  }
  return sum.i512;
}
// Bit 4 a + 2 b + c of kTable, for each bit of the three.
template <int kTable>
INHOUSE_EMULATED __m512i Ternary(__m512i a, __m512i b, __m512i c) {
  __m512i all = simde_mm512_setzero_si512();
  for (int i = 0; i < 8; ++i) {
    if ((kTable >> i & 1) == 0) continue;
    all |= ((i & 4) != 0 ? a : ~a) & ((i & 2) != 0 ? b : ~b) & ((i & 1) != 0 ? c : ~c);
  }
  return all;
}
// Bit i is set where byte i of a & b is not zero.
INHOUSE_EMULATED __mmask64 TestBytes(__m512i a, __m512i b) {
  Register r;
  r.i512 = a & b;
  uint64_t mask = 0;
  for (int h = 0; h < 2; ++h) {
    const __m256i zero = _mm256_cmpeq_epi8(r.i256[h], _mm256_setzero_si256());
    mask |= uint64_t{~static_cast<uint32_t>(_mm256_movemask_epi8(zero))} << (32 * h);
  }
  return mask;
}
INHOUSE_EMULATED __mmask8 LessUnsigned(__m128i a, __m128i b) {
  const __m128i top = _mm_set1_epi32(static_cast<int>(0x80000000U));
  const __m128i less = _mm_cmplt_epi32(_mm_xor_si128(a, top), _mm_xor_si128(b, top));
  return static_cast<__mmask8>(_mm_movemask_ps(_mm_castsi128_ps(less)));
}
INHOUSE_EMULATED int32_t Sum(__m512i v) {
  Register r;
  r.i512 = v;
  uint32_t sum = 0;
  for (int i = 0; i < 16; ++i) sum += r.u32[i];
  return static_cast<int32_t>(sum);
}
INHOUSE_EMULATED uint32_t MaxUnsigned(__m512i v) {
  Register r;
  r.i512 = v;
  uint32_t max = 0;
  for (int i = 0; i < 16; ++i) max = r.u32[i] > max ? r.u32[i] : max;
  return max;
}

// ---- Floats

INHOUSE_EMULATED __m512 FusedAddSub(__m512 a, __m512 b, __m512 c) {
  Register x, y, z;
  x.f512 = a, y.f512 = b, z.f512 = c;
  for (int h = 0; h < 2; ++h) x.f256[h] = _mm256_fmaddsub_ps(x.f256[h], y.f256[h], z.f256[h]);
  return x.f512;
}

// No binary digits are kept (the upper half of the immediate is zero).
template <int kRounding>
INHOUSE_EMULATED __m512 RoundTo(__m512 v) {
  static_assert(kRounding >> 4 == 0);
  Register r;
  r.f512 = v;
  for (int h = 0; h < 2; ++h) r.f256[h] = _mm256_round_ps(r.f256[h], kRounding);
  return r.f512;
}

// x - floor(x), itself rounded down: never 1; 0 for infinities, and -0 where nothing is left, as
// rounding down has it.
INHOUSE_EMULATED float FractionAbove(float x) {
  if (__builtin_isinf(x)) return 0.0F;
  const float whole = __builtin_floorf(x);
  const float fraction = x - whole;
  if (fraction == 0) return -0.0F;
  // What the subtraction lost, exactly: |whole| >= |x| wherever it loses anything.
  const float lost = x - (fraction + whole);
  return lost < 0 ? __builtin_nextafterf(fraction, 0.0F) : fraction;
}
template <int kRounding>
[[maybe_unused]] static __m512 Reduce(__m512 v) {
  static_assert(kRounding == (_MM_FROUND_TO_NEG_INF | _MM_FROUND_NO_EXC));
  Register r;
  r.f512 = v;
  for (float& lane : r.f32) lane = FractionAbove(lane);
  return r.f512;
}

// a 2^floor(b), rounded once. Intel SDM, VSCALEFPS, "Special cases".
INHOUSE_EMULATED float Scale(float a, float b) {
  if (__builtin_isnan(a)) {
    uint32_t payload = 0;
    __builtin_memcpy(&payload, &a, sizeof(payload));
    const bool quiet = (payload >> 22 & 1) != 0;
    if (!quiet || !__builtin_isinf(b)) return a + a;
    return b > 0 ? b : 0.0F;
  }
  if (__builtin_isnan(b)) return b;
  if (__builtin_isinf(b)) {
    if (b > 0 ? a == 0 : __builtin_isinf(a)) return -__builtin_nanf("");
    return __builtin_copysignf(b > 0 ? b : 0.0F, a);
  }
  // 2^300 takes every float beyond the range of floats, and not beyond that of doubles.
  const float whole = __builtin_floorf(b);
  const int exponent = static_cast<int>(whole > 300 ? 300.0F : whole < -300 ? -300.0F : whole);
  const uint64_t bits = static_cast<uint64_t>(1023 + exponent) << 52;
  double power = 0;
  __builtin_memcpy(&power, &bits, sizeof(power));
  return static_cast<float>(double{a} * power);
}
[[maybe_unused]] static __m512 ScaleLanes(__m512 a, __m512 b) {
  Register x, y;
  x.f512 = a, y.f512 = b;
  for (int i = 0; i < 16; ++i) x.f32[i] = Scale(x.f32[i], y.f32[i]);
  return x.f512;
}

// Subnormal lanes become zeros of their sign.
INHOUSE_EMULATED __m256 Flush(__m256 v) {
  const __m256i bits = _mm256_castps_si256(v);
  const __m256i exponent = _mm256_and_si256(bits, _mm256_set1_epi32(0x7F800000));
  const __m256i small = _mm256_cmpeq_epi32(exponent, _mm256_setzero_si256());
  const __m256i magnitude = _mm256_and_si256(small, _mm256_set1_epi32(0x7FFFFFFF));
  return _mm256_castsi256_ps(_mm256_andnot_si256(magnitude, bits));
}
// VDPBF16PS: the odd columns' product is added first, each with one rounding to nearest; inputs and
// results that are subnormal count as zero.
INHOUSE_EMULATED __m512 DotBF16(__m512 acc, __m512bh a, __m512bh b) {
  const __m256i upper = _mm256_set1_epi32(static_cast<int>(0xFFFF0000U));
  Register sum, x, y;
  __builtin_memcpy(&x, &a, sizeof(x));
  __builtin_memcpy(&y, &b, sizeof(y));
  sum.f512 = acc;
  for (int h = 0; h < 2; ++h) {
    const __m256 x_odd = Flush(_mm256_castsi256_ps(_mm256_and_si256(x.i256[h], upper)));
    const __m256 y_odd = Flush(_mm256_castsi256_ps(_mm256_and_si256(y.i256[h], upper)));
    const __m256 x_even = Flush(_mm256_castsi256_ps(_mm256_slli_epi32(x.i256[h], 16)));
    const __m256 y_even = Flush(_mm256_castsi256_ps(_mm256_slli_epi32(y.i256[h], 16)));
    const __m256 half = Flush(_mm256_fmadd_ps(x_odd, y_odd, Flush(sum.f256[h])));
    sum.f256[h] = Flush(_mm256_fmadd_ps(x_even, y_even, half));
  }
  return sum.f512;
}

}  // namespace inhouse::emulated

#undef INHOUSE_EMULATED
