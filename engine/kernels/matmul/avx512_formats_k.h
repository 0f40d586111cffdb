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
  static constexpr int64_t kExpandFrom = 0;  // scales are costly, too
  static constexpr int kOffset = 128;  // hidden by formats that have another; unused with minima
};

// Sixteen bytes of each row: byte i of all rows at p + 32 i.
INHOUSE_INLINE void PutSubScales(const BlockRows& rows, int at, std::byte* p) {
  __m512i v[8];
  LoadWords4(rows, at, v);
  Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA { PutBytesOf(v[i], v[i + 4], p + 128 * i); });
}

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

  static INHOUSE_INLINE void PackScales(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    LoadWords4(rows, 0, v);
    PutHalvesOf(v[0], v[4], p, p + 64);
    Unroll<3>([&](auto i) INHOUSE_INLINE_LAMBDA {
      PutBytesOf(v[i + 1], v[i + 5], p + kPackedAt + 128 * i);
    });
  }
};

struct FormatQ4_K : Block256<144, 4608, 1, true>, ScalesQ4K {
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt + kNibbleBytes * g, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    PackScales(rows, p);
    // Groups 2b and 2b + 1 are the low and high halves of the same 32 bytes of the file.
    for (int b = 0; b < 4; ++b) {
      __m512i v[16];
      LoadWords8(rows, 16 + 32 * b, v);
      std::byte* low = p + kCodesAt + kNibbleBytes * 2 * b;
      PutNibbleGroups(v, low, low + kNibbleBytes);
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
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    PackScales(rows, p);
    for (int b = 0; b < 4; ++b) {
      __m512i v[16];
      LoadWords8(rows, 48 + 32 * b, v);
      std::byte* low = p + kCodesAt + kGroupStride * 2 * b;
      PutNibbleGroups(v, low, low + kGroupStride);
    }
    __m512i high[16];
    LoadWords8(rows, 16, high);
    Unroll<8>([&](auto g) INHOUSE_INLINE_LAMBDA {
      PutBitsOf<decltype(g)::value>(high, p + kCodesAt + kGroupStride * g + kNibbleBytes);
    });
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
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    PutHalves(rows, 208, p);
    PutSubScales(rows, 192, p + kSubAt);
    for (int half = 0; half < 2; ++half) {  // of 128 columns: quarters 0 and 2, 1 and 3 share bytes
      std::byte* groups = p + kCodesAt + kGroupStride * 4 * half;
      for (int i = 0; i < 2; ++i) {
        __m512i v[16];
        LoadWords8(rows, 64 * half + 32 * i, v);
        PutNibbleGroups(v, groups + kGroupStride * i, groups + kGroupStride * (i + 2));
      }
      __m512i high[16];
      LoadWords8(rows, 128 + 32 * half, high);
      Unroll<4>([&](auto quarter) INHOUSE_INLINE_LAMBDA {
        PutPairsOf<2 * decltype(quarter)::value>(high,
                                                 groups + kGroupStride * quarter + kNibbleBytes);
      });
    }
  }
};

struct FormatQ3_K : Block256<110, 3648, 2, false>, ScalesI8 {
  static constexpr int kOffset = 4;
  static constexpr int kGroupStride = kPairBytes + kBitBytes;
  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + kCodesAt + kGroupStride * g;
    Pairs(codes, q, w);
    AddBits<4>(codes + kPairBytes, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    PackScales(rows, p);
    __m512i high[16];
    LoadWords8(rows, 0, high);
    for (int half = 0; half < 2; ++half) {
      __m512i v[16];
      LoadWords8(rows, 32 + 32 * half, v);
      Unroll<4>([&](auto quarter) INHOUSE_INLINE_LAMBDA {
        PutPairsOf<2 * decltype(quarter)::value>(
            v, p + kCodesAt + kGroupStride * (4 * half + quarter));
      });
    }
    Unroll<8>([&](auto g) INHOUSE_INLINE_LAMBDA {
      PutBitsOf<decltype(g)::value>(high, p + kCodesAt + kGroupStride * g + kPairBytes);
    });
  }

  // Twelve bytes hold sixteen codes of six bits: byte i % 8 has the low four of code i, byte
  // 8 + i % 4 the high two.
  static INHOUSE_INLINE void PackScales(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    LoadWords4(rows, 94, v);  // two bytes before them, and d after them
    Unroll<2>([&](auto half) INHOUSE_INLINE_LAMBDA {
      const __m512i* w = v + 4 * half;
      Put32(p + 32 * half, _mm512_cvtepi32_epi16(_mm512_srli_epi32(w[3], 16)));
    });
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA {
      __m512i sub[2];
      Unroll<2>([&](auto half) INHOUSE_INLINE_LAMBDA {
        const __m512i* w = v + 4 * half;
        const auto word = [&](int n) INHOUSE_INLINE_LAMBDA {
          return _mm512_or_si512(_mm512_srli_epi32(w[n], 16), _mm512_slli_epi32(w[n + 1], 16));
        };
        const __m512i low = _mm512_and_si512(
            _mm512_srli_epi32(word(i % 2), decltype(i)::value / 2 * 4), _mm512_set1_epi8(15));
        const __m512i high =
            _mm512_and_si512(_mm512_srli_epi32(word(2), 2 * i), _mm512_set1_epi8(3));
        sub[half] =
            _mm512_sub_epi8(_mm512_or_si512(low, _mm512_slli_epi32(high, 4)), _mm512_set1_epi8(32));
      });
      PutBytesOf(sub[0], sub[1], p + kSubAt + 128 * i);
    });
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
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    __m512i scales[2];
    LoadWord(rows, 80, scales);
    PutHalvesOf(scales[0], scales[1], p, p + 64);
    PutSubScales(rows, 0, p + kSubAt);
    for (int half = 0; half < 2; ++half) {
      __m512i v[16];
      LoadWords8(rows, 16 + 32 * half, v);
      Unroll<4>([&](auto quarter) INHOUSE_INLINE_LAMBDA {
        PutPairsOf<2 * decltype(quarter)::value>(v,
                                                 p + kCodesAt + kPairBytes * (4 * half + quarter));
      });
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
