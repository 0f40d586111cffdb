// Panel formats of GGUF types with blocks of 32: the scales of 32 rows, then the codes. As many
// bits per weight as in the file (MXFP4: one byte more per block, for an aligned scale).
#pragma once

#include "engine/kernels/matmul/avx512_codes.h"
#include "engine/kernels/matmul/avx512_groups.h"
#include "engine/kernels/matmul/avx512_pack.h"

namespace inhouse::engine {
namespace {

INHOUSE_INLINE void LoadScalesF16(const std::byte* p, __m512 (&scale)[2]) {
  scale[0] = LoadF16(p);
  scale[1] = LoadF16(p + 32);
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
  static constexpr int kOffset = 128;  // hidden by formats that have another; unused with minima
  static constexpr int kCodesAt = kHasMin ? 128 : 64;  // after the scales and minima

  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int /*half*/, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    LoadScalesF16(p, scale);
    if constexpr (kHasMin) LoadScalesF16(p + 64, min);
  }
};

// Used as it is by any number of rows. Codes are stored + 128.
struct FormatQ8_0 : Block32<34, 1088, false> {
  static constexpr int64_t kExpandFrom = kNever;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    w[0] = Load(p + kCodesAt + 128 * q);
    w[1] = Load(p + kCodesAt + 128 * q + 64);
    w[2] = Load(p + kCodesAt + 128 * q + 512);
    w[3] = Load(p + kCodesAt + 128 * q + 576);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    PutHalves(rows, 0, p);
    PutSignedWords(rows, 2, p + kCodesAt);
  }
};

struct FormatQ4_0 : Block32<18, 576, false> {
  static constexpr int64_t kExpandFrom = 64;
  static constexpr int kOffset = 8;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    // The file's bytes pair columns j and 16 + j, as the panel does.
    __m512i v[8];
    LoadWords4(rows, 2, v);
    PutHalves(rows, 0, p);
    PutNibbleWords(v, p + kCodesAt);
  }
};

struct FormatQ4_1 : Block32<20, 640, true> {
  static constexpr int64_t kExpandFrom = 64;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    __m512i scales[2];
    LoadWords4(rows, 4, v);
    LoadWord(rows, 0, scales);
    PutHalvesOf(scales[0], scales[1], p, p + 64);
    PutNibbleWords(v, p + kCodesAt);
  }
};

struct FormatQ5_0 : Block32<22, 704, false> {
  static constexpr int64_t kExpandFrom = 0;
  static constexpr int kOffset = 16;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
    AddBits<16>(p + kCodesAt + kNibbleBytes, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    __m512i fifth[2];
    LoadWords4(rows, 6, v);
    LoadWord(rows, 2, fifth);
    PutHalves(rows, 0, p);
    PutNibbleWords(v, p + kCodesAt);
    PutBitsOfWord(fifth, p + kCodesAt + kNibbleBytes);
  }
};

struct FormatQ5_1 : Block32<24, 768, true> {
  static constexpr int64_t kExpandFrom = 0;
  static INHOUSE_INLINE void Codes(const std::byte* p, int /*g*/, int q, __m512i (&w)[4]) {
    Nibbles(p + kCodesAt, q, w);
    AddBits<16>(p + kCodesAt + kNibbleBytes, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    __m512i scales[2];
    __m512i fifth[2];
    LoadWords4(rows, 8, v);
    LoadWord(rows, 0, scales);
    LoadWord(rows, 4, fifth);
    PutHalvesOf(scales[0], scales[1], p, p + 64);
    PutNibbleWords(v, p + kCodesAt);
    PutBitsOfWord(fifth, p + kCodesAt + kNibbleBytes);
  }
};

// Nibbles are looked up: doubled E2M1 values + 128. The scale 2^(e - 128) is kept as BF16, which
// has the subnormals that e = 0 and 1 need.
struct FormatMXFP4 : Block32<17, 576, false> {
  static constexpr int64_t kExpandFrom = 0;
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
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    __m512i v[8];
    LoadWords4(rows, 1, v);
    for (int r = 0; r < kPanelRows; ++r) {
      const uint32_t e = std::to_integer<uint32_t>(rows.at[r][0]);
      const auto scale = static_cast<uint16_t>(e < 2 ? 0x20U << e : (e - 1) << 7);
      __builtin_memcpy(p + 2 * r, &scale, 2);
    }
    PutNibbleWords(v, p + kCodesAt);
  }
};

}  // namespace
}  // namespace inhouse::engine
