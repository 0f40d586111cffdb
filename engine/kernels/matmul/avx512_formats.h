// Panel formats of GGUF types with blocks of 32: the scales of 32 rows, then the codes. As many
// bits per weight as in the file (MXFP4: one byte more per block, for an aligned scale).
#pragma once

#include "engine/kernels/matmul/avx512_codes.h"
#include "engine/kernels/matmul/avx512_groups.h"

namespace inhouse::engine {
namespace {

INHOUSE_INLINE void LoadScalesF16(const std::byte* p, __m512 (&scale)[2]) {
  scale[0] = LoadF16(p);
  scale[1] = LoadF16(p + 32);
}

INHOUSE_INLINE void Put16(const std::byte* from, int row, std::byte* to) {
  __builtin_memcpy(to + 2 * row, from, 2);
}

inline void UnpackNibbles(const std::byte* qs, uint8_t* codes) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<uint8_t>(qs[j] & std::byte{15});
    codes[16 + j] = static_cast<uint8_t>(qs[j] >> 4);
  }
}

inline void UnpackFifthBits(const std::byte* qh, uint8_t* codes) {
  for (int j = 0; j < 32; ++j) {
    const int bit = static_cast<int>(qh[j / 8]) >> (j % 8) & 1;
    codes[j] = static_cast<uint8_t>(codes[j] | bit << 4);
  }
}

// One group a block, one scale a row.
template <int kSource, int kBytes, bool kHasMin>
struct Block32 {
  static constexpr int kSourceBytes = kSource;
  static constexpr int kBlockBytes = kBytes;
  static constexpr int kBlockGroups = 1;
  static constexpr int kUnitGroups = 1;
  static constexpr int kHalves = 1;
  static constexpr bool kMin = kHasMin;
  static constexpr bool kUsedInPlace = false;
  static constexpr int kOffset = 128;  // hidden by formats that have another; unused with minima
  using Tile = Expanded<1, kHasMin, 1>;
  static constexpr int kCodesAt = kHasMin ? 128 : 64;  // after the scales and minima

  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int /*half*/, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    LoadScalesF16(p, scale);
    if constexpr (kHasMin) LoadScalesF16(p + 64, min);
  }
};

// Used as it is by any number of rows. Codes are stored + 128.
struct FormatQ8_0 : Block32<34, 1088, false> {
  static constexpr bool kUsedInPlace = true;

  static constexpr int kUnitBytes = kBlockBytes;
  using Tile = FormatQ8_0;
  static INHOUSE_INLINE void UnitScales(const std::byte* p, int /*half*/, __m512 (&scale)[2],
                                        __m512 (&)[2]) {
    LoadScalesF16(p, scale);
  }
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    w[0] = Load(p + kCodesAt + 128 * q);
    w[1] = Load(p + kCodesAt + 128 * q + 64);
    w[2] = Load(p + kCodesAt + 128 * q + 512);
    w[3] = Load(p + kCodesAt + 128 * q + 576);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source, row, p);
    for (int i = 0; i < 8; ++i) {
      uint32_t word = 0;
      __builtin_memcpy(&word, source + 2 + 4 * i, 4);
      word ^= 0x80808080U;
      __builtin_memcpy(p + kCodesAt + 128 * i + 4 * row, &word, 4);
    }
  }
};

struct FormatQ4_0 : Block32<18, 576, false> {
  static constexpr int kOffset = 8;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source, row, p);
    // The file's bytes pair columns j and 16 + j, as the panel does.
    for (int q = 0; q < 4; ++q) {
      __builtin_memcpy(p + kCodesAt + 128 * q + 4 * row, source + 2 + 4 * q, 4);
    }
  }
};

struct FormatQ4_1 : Block32<20, 640, true> {
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Put16(source, row, p);
    Put16(source + 2, row, p + 64);
    for (int q = 0; q < 4; ++q) {
      __builtin_memcpy(p + kCodesAt + 128 * q + 4 * row, source + 4 + 4 * q, 4);
    }
  }
};

struct FormatQ5_0 : Block32<22, 704, false> {
  static constexpr int kOffset = 16;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
    AddBits<16>(p + kCodesAt + kNibbleBytes, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    uint8_t codes[32];
    UnpackNibbles(source + 6, codes);
    UnpackFifthBits(source + 2, codes);
    Put16(source, row, p);
    PutNibbles(codes, row, p + kCodesAt);
    PutBits(codes, 4, row, p + kCodesAt + kNibbleBytes);
  }
};

struct FormatQ5_1 : Block32<24, 768, true> {
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
    AddBits<16>(p + kCodesAt + kNibbleBytes, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    uint8_t codes[32];
    UnpackNibbles(source + 8, codes);
    UnpackFifthBits(source + 4, codes);
    Put16(source, row, p);
    Put16(source + 2, row, p + 64);
    PutNibbles(codes, row, p + kCodesAt);
    PutBits(codes, 4, row, p + kCodesAt + kNibbleBytes);
  }
};

// Nibbles are looked up: doubled E2M1 values + 128. The scale 2^(e - 128) is kept as BF16, which
// has the subnormals that e = 0 and 1 need.
struct FormatMXFP4 : Block32<17, 576, false> {
  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int /*half*/, __m512 (&scale)[2],
                                    __m512 (&)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      const __m256i bits = _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p + 32 * i));
      scale[i] = _mm512_castsi512_ps(_mm512_slli_epi32(_mm512_cvtepu16_epi32(bits), 16));
    });
  }
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    const __m512i table = _mm512_broadcast_i32x4(_mm_setr_epi8(
        -128, -127, -126, -125, -124, -122, -120, -116, -128, 127, 126, 125, 124, 122, 120, 116));
    Nibbles(p + kCodesAt, q, w);
    Unroll<4>([&](auto i) INHOUSE_INLINE_LAMBDA { w[i] = _mm512_shuffle_epi8(table, w[i]); });
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    const uint32_t e = std::to_integer<uint32_t>(source[0]);
    const auto scale = static_cast<uint16_t>(e < 2 ? 0x20U << e : (e - 1) << 7);
    __builtin_memcpy(p + 2 * row, &scale, 2);
    for (int q = 0; q < 4; ++q) {
      __builtin_memcpy(p + kCodesAt + 128 * q + 4 * row, source + 1 + 4 * q, 4);
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
