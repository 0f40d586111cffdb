// Panel formats of the GGUF types with super-blocks of 256: the header of 32 rows (super-scales,
// packed sub-scales), then 8 groups of codes. Sub-scales stay packed, so that a panel has as many
// bits per weight as the file (Q3_K: 8-bit sub-scales instead of 6).
#pragma once

#include "engine/kernels/matmul/avx512_formats.h"

namespace inhouse::engine {
namespace {

template <int kSource, int kBytes, int kHalvesOf, bool kHasMin>
struct Block256 {
  static constexpr int kSourceBytes = kSource;
  static constexpr int kBlockBytes = kBytes;
  static constexpr int kBlockGroups = 8;
  static constexpr int kUnitGroups = 1;
  static constexpr int kHalves = kHalvesOf;
  static constexpr bool kMin = kHasMin;
  static constexpr bool kUsedInPlace = false;
  static constexpr int kOffset = 128;  // hidden by formats that have another; unused with minima
  using Tile = Expanded<kHalvesOf, kHasMin, 1>;
};

// scale = d * s, min = -dmin * m with 6-bit s and m in 12 packed bytes a row, as in the file but
// one byte of all rows after the other. Q4_K and Q5_K.
struct ScalesQ4K {
  static constexpr int kPackedAt = 128;  // after d and dmin
  static constexpr int kCodesAt = kPackedAt + 12 * 32;

  static INHOUSE_INLINE void Unpack(const std::byte* p, int g, int half_of_rows, __m512i& s,
                                    __m512i& m) {
    const std::byte* row = p + kPackedAt + 16 * half_of_rows;
    const __m512i six = _mm512_set1_epi32(63);
    const __m512i four = _mm512_set1_epi32(15);
    const __m512i top = _mm512_set1_epi32(0x30);
    if (g < 4) {
      s = _mm512_and_si512(LoadU8(row + 32 * g), six);
      m = _mm512_and_si512(LoadU8(row + 32 * (g + 4)), six);
      return;
    }
    const __m512i both = LoadU8(row + 32 * (g + 4));
    const __m512i s_top = _mm512_and_si512(_mm512_srli_epi32(LoadU8(row + 32 * (g - 4)), 2), top);
    const __m512i m_top = _mm512_and_si512(_mm512_srli_epi32(LoadU8(row + 32 * g), 2), top);
    s = _mm512_or_si512(_mm512_and_si512(both, four), s_top);
    m = _mm512_or_si512(_mm512_srli_epi32(both, 4), m_top);
  }

  static INHOUSE_INLINE void Scales(const std::byte* p, int g, int /*half*/, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    const __m512 negative = _mm512_set1_ps(-0.0F);
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      __m512i s;
      __m512i m;
      Unpack(p, g, i, s, m);
      scale[i] = _mm512_mul_ps(LoadF16(p + 32 * i), _mm512_cvtepi32_ps(s));
      const __m512 dmin = _mm512_xor_ps(LoadF16(p + 64 + 32 * i), negative);
      min[i] = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(m));
    });
  }

  static INHOUSE_INLINE void PackScales(const std::byte* source, int row, std::byte* p) {
    Put16(source, row, p);
    Put16(source + 2, row, p + 64);
    for (int i = 0; i < 12; ++i) p[kPackedAt + 32 * i + row] = source[4 + i];
  }
};

struct FormatQ4_K : Block256<144, 4608, 1, true>, ScalesQ4K {
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt + kNibbleBytes * g, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    PackScales(source, row, p);
    // Groups 2b and 2b + 1 are the low and high halves of the same 32 bytes of the file.
    for (int i = 0; i < 16; ++i) {  // words of b = i / 4, q = i % 4
      uint32_t a = 0;
      uint32_t b = 0;
      __builtin_memcpy(&a, source + 16 + i / 4 * 32 + i % 4 * 4, 4);
      __builtin_memcpy(&b, source + 16 + i / 4 * 32 + i % 4 * 4 + 16, 4);
      const uint32_t even = (a & 0x0F0F0F0FU) | (b & 0x0F0F0F0FU) << 4;
      const uint32_t odd = (a >> 4 & 0x0F0F0F0FU) | (b & 0xF0F0F0F0U);
      std::byte* to = p + kCodesAt + i / 4 * 2 * kNibbleBytes + i % 4 * 128 + 4 * row;
      __builtin_memcpy(to, &even, 4);
      __builtin_memcpy(to + kNibbleBytes, &odd, 4);
    }
  }
};

struct FormatQ5_K : Block256<176, 5632, 1, true>, ScalesQ4K {
  static constexpr int kGroupStride = kNibbleBytes + kBitBytes;
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + kCodesAt + kGroupStride * g;
    Nibbles(codes, q, w);
    AddBits<16>(codes + kNibbleBytes, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    PackScales(source, row, p);
    for (int g = 0; g < 8; ++g) {
      uint8_t codes[32];
      for (int l = 0; l < 32; ++l) {
        const int low = static_cast<int>(source[48 + g / 2 * 32 + l]) >> (g % 2 * 4) & 15;
        const int high = static_cast<int>(source[16 + l]) >> g & 1;
        codes[l] = static_cast<uint8_t>(low | high << 4);
      }
      PutNibbles(codes, row, p + kCodesAt + kGroupStride * g);
      PutBits(codes, 4, row, p + kCodesAt + kGroupStride * g + kNibbleBytes);
    }
  }
};

// scale = d * s with an int8 s per 16 columns. Q6_K and Q3_K.
struct ScalesI8 {
  static constexpr int kSubAt = 64;  // after d
  static constexpr int kCodesAt = kSubAt + 16 * 32;
  static INHOUSE_INLINE void Scales(const std::byte* p, int g, int half, __m512 (&scale)[2],
                                    __m512 (&)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      const __m512i s = LoadI8(p + kSubAt + 32 * (2 * g + half) + 16 * i);
      scale[i] = _mm512_mul_ps(LoadF16(p + 32 * i), _mm512_cvtepi32_ps(s));
    });
  }
};

struct FormatQ6_K : Block256<210, 6720, 2, false>, ScalesI8 {
  static constexpr int kOffset = 32;
  static constexpr int kGroupStride = kNibbleBytes + kPairBytes;
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + kCodesAt + kGroupStride * g;
    Nibbles(codes, q, w);
    OrPairsAbove(codes + kNibbleBytes, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source + 208, row, p);
    for (int i = 0; i < 16; ++i) p[kSubAt + 32 * i + row] = source[192 + i];
    for (int g = 0; g < 8; ++g) {  // a quarter of a half of 128
      uint8_t codes[32];
      for (int l = 0; l < 32; ++l) {
        const int at = g / 4 * 64 + g % 2 * 32 + l;
        const int low = static_cast<int>(source[at]) >> (g % 4 / 2 * 4) & 15;
        const int high = static_cast<int>(source[128 + g / 4 * 32 + l]) >> (2 * (g % 4)) & 3;
        codes[l] = static_cast<uint8_t>(low | high << 4);
      }
      PutNibbles(codes, row, p + kCodesAt + kGroupStride * g);
      PutPairs(codes, 4, row, p + kCodesAt + kGroupStride * g + kNibbleBytes);
    }
  }
};

// The two low bits of group g in the 64 bytes at `qs`: Q2_K and Q3_K.
INHOUSE_INLINE int LowPair(const std::byte* qs, int g, int l) {
  return static_cast<int>(qs[g / 4 * 32 + l]) >> (g % 4 * 2) & 3;
}

struct FormatQ3_K : Block256<110, 3648, 2, false>, ScalesI8 {
  static constexpr int kOffset = 4;
  static constexpr int kGroupStride = kPairBytes + kBitBytes;
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + kCodesAt + kGroupStride * g;
    Pairs(codes, q, w);
    AddBits<4>(codes + kPairBytes, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source + 108, row, p);
    for (int i = 0; i < 16; ++i) {
      const int low = static_cast<int>(source[96 + i % 8]) >> (i / 8 * 4) & 15;
      const int high = static_cast<int>(source[104 + i % 4]) >> (2 * (i / 4)) & 3;
      p[kSubAt + 32 * i + row] = static_cast<std::byte>((low | high << 4) - 32);
    }
    for (int g = 0; g < 8; ++g) {
      uint8_t codes[32];
      for (int l = 0; l < 32; ++l) {
        const int high = static_cast<int>(source[l]) >> g & 1;
        codes[l] = static_cast<uint8_t>(LowPair(source + 32, g, l) | high << 2);
      }
      PutPairs(codes, 0, row, p + kCodesAt + kGroupStride * g);
      PutBits(codes, 2, row, p + kCodesAt + kGroupStride * g + kPairBytes);
    }
  }
};

// scale = d * (low four bits), min = -dmin * (high four bits), per 16 columns.
struct FormatQ2_K : Block256<84, 2688, 2, true> {
  static constexpr int kSubAt = 128;
  static constexpr int kCodesAt = kSubAt + 16 * 32;
  static INHOUSE_INLINE void Scales(const std::byte* p, int g, int half, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    const __m512 negative = _mm512_set1_ps(-0.0F);
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      const __m512i both = LoadU8(p + kSubAt + 32 * (2 * g + half) + 16 * i);
      const __m512i s = _mm512_and_si512(both, _mm512_set1_epi32(15));
      const __m512i m = _mm512_srli_epi32(both, 4);
      scale[i] = _mm512_mul_ps(LoadF16(p + 32 * i), _mm512_cvtepi32_ps(s));
      const __m512 dmin = _mm512_xor_ps(LoadF16(p + 64 + 32 * i), negative);
      min[i] = _mm512_mul_ps(dmin, _mm512_cvtepi32_ps(m));
    });
  }
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    Pairs(p + kCodesAt + kPairBytes * g, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source + 80, row, p);
    Put16(source + 82, row, p + 64);
    for (int i = 0; i < 16; ++i) p[kSubAt + 32 * i + row] = source[i];
    for (int g = 0; g < 8; ++g) {
      uint8_t codes[32];
      for (int l = 0; l < 32; ++l) codes[l] = static_cast<uint8_t>(LowPair(source + 16, g, l));
      PutPairs(codes, 0, row, p + kCodesAt + kPairBytes * g);
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
