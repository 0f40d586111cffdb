// Stands before the compiler's <immintrin.h> in the build that emulates AVX-512 on a CPU with AVX2
// (preset `emulated`; engine/kernels/CMakeLists.txt): the same types and names, computed by SIMDe
// and by avx512.h.
//
// A name that is in neither does not compile: the compiler's own AVX-512 functions cannot be
// inlined in this build.
#pragma once

#include_next <immintrin.h>

#define SIMDE_ENABLE_NATIVE_ALIASES
#include <simde/x86/avx512.h>

#include "tests/emulation/avx512.h"

// The names: some are macros of the compiler's header or of SIMDe.
#undef _mm512_load_si512
#undef _mm512_load_ps
#undef _mm512_store_si512
#undef _mm512_store_ps
#undef _mm512_stream_si512
#undef _mm512_maskz_loadu_ps
#undef _mm512_mask_storeu_ps
#undef _mm_mask_storeu_epi32
#undef _mm_maskz_loadu_epi8
#undef _mm512_maskz_loadu_epi8
#undef _mm256_maskz_loadu_epi16
#undef _mm256_mask_storeu_epi16
#undef _mm512_cvtepu8_epi32
#undef _mm512_cvtepi8_epi32
#undef _mm512_cvtepu16_epi32
#undef _mm512_cvtepi32_epi8
#undef _mm512_cvtepi32_epi16
#undef _mm512_cvtepi32_ps
#undef _mm512_cvtps_epi32
#undef _mm512_cvtph_ps
#undef _mm512_cvtps_ph
#undef _mm512_extractf32x8_ps
#undef _mm512_permute_ps
#undef _mm512_shuffle_i64x2
#undef _mm512_srai_epi32
#undef _mm512_mask_add_epi8
#undef _mm512_mask_mov_ps
#undef _mm512_mask_mov_epi32
#undef _mm512_dpbusd_epi32
#undef _mm512_ternarylogic_epi32
#undef _mm512_test_epi8_mask
#undef _mm_cmplt_epu32_mask
#undef _mm512_reduce_add_epi32
#undef _mm512_reduce_max_epu32
#undef _mm512_fmaddsub_ps
#undef _mm512_roundscale_ps
#undef _mm512_reduce_ps
#undef _mm512_scalef_ps
#undef _mm512_dpbf16_ps

#define _mm512_load_si512(p) inhouse::emulated::Load(p)
#define _mm512_load_ps(p) inhouse::emulated::LoadFloats(p)
#define _mm512_store_si512(p, v) inhouse::emulated::Store(p, v)
#define _mm512_store_ps(p, v) inhouse::emulated::StoreFloats(p, v)
#define _mm512_stream_si512(p, v) inhouse::emulated::Store(p, v)
#define _mm512_maskz_loadu_ps(mask, p) inhouse::emulated::LoadFloatsWhere(mask, p)
#define _mm512_mask_storeu_ps(p, mask, v) inhouse::emulated::StoreFloatsWhere(p, mask, v)
#define _mm_mask_storeu_epi32(p, mask, v) inhouse::emulated::StoreWordsWhere(p, mask, v)
#define _mm_maskz_loadu_epi8(mask, p) inhouse::emulated::LoadWhere<int8_t, __m128i>(mask, p)
#define _mm512_maskz_loadu_epi8(mask, p) inhouse::emulated::LoadWhere<int8_t, __m512i>(mask, p)
#define _mm256_maskz_loadu_epi16(mask, p) inhouse::emulated::LoadWhere<int16_t, __m256i>(mask, p)
#define _mm256_mask_storeu_epi16(p, mask, v) \
  inhouse::emulated::StoreWhere<int16_t, __m256i>(p, mask, v)
#define _mm512_cvtepu8_epi32(v) inhouse::emulated::Convert<uint8_t, int32_t, 16, __m512i>(v)
#define _mm512_cvtepi8_epi32(v) inhouse::emulated::Convert<int8_t, int32_t, 16, __m512i>(v)
#define _mm512_cvtepu16_epi32(v) inhouse::emulated::Convert<uint16_t, int32_t, 16, __m512i>(v)
#define _mm512_cvtepi32_epi8(v) inhouse::emulated::Convert<int32_t, int8_t, 16, __m128i>(v)
#define _mm512_cvtepi32_epi16(v) inhouse::emulated::Convert<int32_t, int16_t, 16, __m256i>(v)
#define _mm512_cvtepi32_ps(v) inhouse::emulated::ToFloats(v)
#define _mm512_cvtps_epi32(v) inhouse::emulated::RoundToInts(v)
#define _mm512_cvtph_ps(v) inhouse::emulated::FromHalfFloats(v)
#define _mm512_cvtps_ph(v, rounding) inhouse::emulated::ToHalfFloats<(rounding)>(v)
#define _mm512_extractf32x8_ps(v, half) inhouse::emulated::ExtractHalf<(half)>(v)
#define _mm512_permute_ps(v, order) inhouse::emulated::Permute<(order)>(v)
#define _mm512_shuffle_i64x2(a, b, order) simde_mm512_shuffle_i32x4(a, b, order)
#define _mm512_srai_epi32(v, count) inhouse::emulated::ShiftRight(v, count)
#define _mm512_mask_add_epi8(other, mask, a, b) inhouse::emulated::AddBytesWhere(other, mask, a, b)
#define _mm512_mask_mov_ps(other, mask, v) inhouse::emulated::Choose(other, mask, v)
#define _mm512_mask_mov_epi32(other, mask, v) \
  (__m512i) inhouse::emulated::Choose((__m512)(other), mask, (__m512)(v))
#define _mm512_dpbusd_epi32(acc, u8, s8) inhouse::emulated::DotBytes(acc, u8, s8)
#define _mm512_ternarylogic_epi32(a, b, c, table) inhouse::emulated::Ternary<(table)>(a, b, c)
#define _mm512_test_epi8_mask(a, b) inhouse::emulated::TestBytes(a, b)
#define _mm_cmplt_epu32_mask(a, b) inhouse::emulated::LessUnsigned(a, b)
#define _mm512_reduce_add_epi32(v) inhouse::emulated::Sum(v)
#define _mm512_reduce_max_epu32(v) inhouse::emulated::MaxUnsigned(v)
#define _mm512_fmaddsub_ps(a, b, c) inhouse::emulated::FusedAddSub(a, b, c)
#define _mm512_roundscale_ps(v, rounding) inhouse::emulated::RoundTo<(rounding)>(v)
#define _mm512_reduce_ps(v, rounding) inhouse::emulated::Reduce<(rounding)>(v)
#define _mm512_scalef_ps(a, b) inhouse::emulated::ScaleLanes(a, b)
#define _mm512_dpbf16_ps(acc, a, b) inhouse::emulated::DotBF16(acc, a, b)
