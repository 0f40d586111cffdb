// How the codes of a group (32 columns x 32 rows) lie in a panel, and how registers see them.
//
// The low four bits of all codes are 4 x 128 bytes: step q holds, for each row, one byte for each
// of columns 4q..4q+3 (low halves) and 16 + 4q.. (high halves), so that one load yields words q and
// q + 4 of x. Two more bits are 4 x 64 bytes, one more bit is 4 x 32 bytes (four lane masks).
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

constexpr int kNibbleBytes = 512;
constexpr int kPairBytes = 256;
constexpr int kBitBytes = 128;

// Four registers of a step: words q and q + 4, each rows 0..15 and 16..31.
INHOUSE_INLINE void Nibbles(const std::byte* p, int q, __m512i (&w)[4]) {
  const __m512i mask = _mm512_set1_epi8(15);
  const __m512i a = Load(p + 128 * q);
  const __m512i b = Load(p + 128 * q + 64);
  w[0] = _mm512_and_si512(a, mask);
  w[1] = _mm512_and_si512(b, mask);
  w[2] = _mm512_and_si512(_mm512_srli_epi16(a, 4), mask);
  w[3] = _mm512_and_si512(_mm512_srli_epi16(b, 4), mask);
}

// Bits 2i of the bytes belong to register i, as 0..3.
INHOUSE_INLINE void Pairs(const std::byte* p, int q, __m512i (&w)[4]) {
  const __m512i v = Load(p + 64 * q);
  const __m512i mask = _mm512_set1_epi8(3);
  w[0] = _mm512_and_si512(v, mask);
  Unroll<3>([&](auto i) INHOUSE_INLINE_LAMBDA {
    w[i + 1] = _mm512_and_si512(_mm512_srli_epi16(v, 2 * i + 2), mask);
  });
}

// w |= pairs << 4.
INHOUSE_INLINE void OrPairsAbove(const std::byte* p, int q, __m512i (&w)[4]) {
  const __m512i v = Load(p + 64 * q);
  const __m512i shifted[4] = {_mm512_slli_epi16(v, 4), _mm512_slli_epi16(v, 2), v,
                              _mm512_srli_epi16(v, 2)};
  Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {  // (shifted & 0x30) | w
    w[i] = _mm512_ternarylogic_epi32(w[i], shifted[i], _mm512_set1_epi8(0x30), 0xF8);
  });
}

// w += kWeight where the code's bit is set.
template <int kWeight>
INHOUSE_INLINE void AddBits(const std::byte* p, int q, __m512i (&w)[4]) {
  Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
    __mmask64 bits = 0;
    __builtin_memcpy(&bits, p + 32 * q + 8 * i, sizeof(bits));
    w[i] = _mm512_mask_add_epi8(w[i], bits, w[i], _mm512_set1_epi8(kWeight));
  });
}

}  // namespace
}  // namespace inhouse::engine
