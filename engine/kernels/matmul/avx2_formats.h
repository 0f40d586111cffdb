// Formats with one scale for a group of 32 or 128 columns: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4 of
// GGUF and the I8 and I4 groups. Only for the AVX2 and AVX-VNNI translation units.
//
// Stored layouts: docs/file-formats.md, engine/kernels/dequantize_blocks.cc, engine/tensor/dtype.h.
// A panel keeps the stored words of four bytes, word by word for its 32 rows, so that packing is a
// transpose; a block of it has its scales first.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

// The scale of a block, and its minimum if there is one: F16, or float32, as stored in front of it.
template <int kNumberBytes, bool kMin>
struct Header {
  static constexpr bool kHasMin = kMin;
  static constexpr int kStoredBytes = kNumberBytes * (kMin ? 2 : 1);
  static constexpr int kBytes = kStoredBytes * kPanelRows;

  static void Pack(const Rows& rows, std::byte* block) {
    CopyField<kNumberBytes>(rows, 0, block);
    if constexpr (kMin) CopyField<kNumberBytes>(rows, kNumberBytes, block + kBytes / 2);
  }
  static __m256 Load(const std::byte* numbers, int v) {
    return kNumberBytes == 2 ? LoadHalfs(numbers + 16 * v) : LoadFloats(numbers + 32 * v);
  }
  static __m256 Scale(const std::byte* block, int v) { return Load(block, v); }
  static __m256 Min(const std::byte* block, int v) { return Load(block + kBytes / 2, v); }
};

inline const std::byte* WordOf(const std::byte* words, int word, int v) {
  return words + word * kWordBytes + 32 * v;
}

// The nibbles of a word: those of quad q are low, those of quad 4 + q of the same record high.
inline __m256i Nibbles(const std::byte* words, int record, int q, int v) {
  const __m256i word = LoadBytes(WordOf(words, 4 * record + q % 4, v));
  return _mm256_and_si256(q < 4 ? word : _mm256_srli_epi16(word, 4), _mm256_set1_epi8(15));
}

template <typename NumberHeader, int kRecords, int kCodeOffset>
struct NibbleFormat {
  using H = NumberHeader;
  static constexpr int kOffset = kCodeOffset;
  static constexpr int kRecentre = 0;
  static constexpr int kGroupRecords = kRecords;
  static constexpr int kHalves = 1;
  static constexpr bool kHasMin = H::kHasMin;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = H::kStoredBytes + 16 * kRecords;
  static constexpr int64_t kBlockBytes = H::kBytes + 4 * kRecords * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    H::Pack(rows, block);
    CopyWords(rows, H::kStoredBytes, 4 * kRecords, block + H::kBytes);
  }
  static __m256 Scale(const std::byte* block, int /*g*/, int /*half*/, int v) {
    return H::Scale(block, v);
  }
  static __m256 Min(const std::byte* block, int /*g*/, int /*half*/, int v) {
    return H::Min(block, v);
  }
  static __m256i Quad(const std::byte* block, int record, int q, int v) {
    return Nibbles(block + H::kBytes, record, q, v);
  }
};

using Q4_0 = NibbleFormat<Header<2, false>, 1, 8>;
using Q4_1 = NibbleFormat<Header<2, true>, 1, 0>;
template <int kRecords>
using I4 = NibbleFormat<Header<4, false>, kRecords, 8>;
template <int kRecords>
using I4Min = NibbleFormat<Header<4, true>, kRecords, 0>;

// Nibbles, and a word with the fifth bits: the bit of the column 4 q + c is bit q of byte c.
template <typename NumberHeader, int kCodeOffset>
struct FiveBitFormat {
  using H = NumberHeader;
  static constexpr int kOffset = kCodeOffset;
  static constexpr int kRecentre = kCodeOffset == 0 ? 16 : 0;
  static constexpr int kGroupRecords = 1;
  static constexpr int kHalves = 1;
  static constexpr bool kHasMin = H::kHasMin;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = H::kStoredBytes + 20;
  static constexpr int64_t kBlockBytes = H::kBytes + 5 * kWordBytes;

  // Stored is the bit of column j as bit j of a little-endian word.
  static uint32_t Transposed(uint32_t bits) {
    uint32_t word = 0;
    for (int c = 0; c < 4; ++c) {
      uint32_t b = bits >> c & 0x11111111U;  // eight bits four apart come together
      b = (b | b >> 3) & 0x03030303U;
      b = (b | b >> 6) & 0x000F000FU;
      b = (b | b >> 12) & 0xFFU;
      word |= b << (8 * c);
    }
    return word;
  }
  static void Pack(const Rows& rows, std::byte* block) {
    H::Pack(rows, block);
    CopyWords(rows, H::kStoredBytes + 4, 4, block + H::kBytes + kWordBytes);
    for (int i = 0; i < kPanelRows; ++i) {
      uint32_t word = 0;
      if (rows.at[i] != nullptr) {
        std::memcpy(&word, rows.at[i] + H::kStoredBytes, 4);
        word = Transposed(word);
      }
      std::memcpy(block + H::kBytes + 4 * i, &word, 4);
    }
  }
  static __m256 Scale(const std::byte* block, int /*g*/, int /*half*/, int v) {
    return H::Scale(block, v);
  }
  static __m256 Min(const std::byte* block, int /*g*/, int /*half*/, int v) {
    return H::Min(block, v);
  }
  static __m256i Quad(const std::byte* block, int /*record*/, int q, int v) {
    const __m256i bits = LoadBytes(WordOf(block + H::kBytes, 0, v));
    const __m256i at4 = q < 4 ? _mm256_slli_epi16(bits, 4 - q) : _mm256_srli_epi16(bits, q - 4);
    return _mm256_or_si256(Nibbles(block + H::kBytes + kWordBytes, 0, q, v),
                           _mm256_and_si256(at4, _mm256_set1_epi8(16)));
  }
};

using Q5_0 = FiveBitFormat<Header<2, false>, 16>;
using Q5_1 = FiveBitFormat<Header<2, true>, 0>;

// w = 2^(e - 128) * (twice the value). A panel block: e U8 [32], padded to 128 bytes, codes. Quad
// gives twice the value plus twelve: 0..24.
struct MXFP4 {
  static constexpr int kOffset = 12;
  static constexpr int kRecentre = 0;
  static constexpr int kGroupRecords = 1;
  static constexpr int kHalves = 1;
  static constexpr bool kHasMin = false;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 17;
  static constexpr int64_t kHeaderBytes = 64;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 4 * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    std::memset(block, 0, kHeaderBytes);
    CopyField<1>(rows, 0, block);
    CopyWords(rows, 1, 4, block + kHeaderBytes);
  }
  // Eight exponents e as 2^(e - 128); 0 and 1 give subnormal floats.
  static __m256 Scale(const std::byte* block, int /*g*/, int /*half*/, int v) {
    const __m256i e =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(block + 8 * v)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
  }
  static __m256 Min(const std::byte* /*block*/, int /*g*/, int /*half*/, int /*v*/) {
    return _mm256_setzero_ps();
  }
  static __m256i Quad(const std::byte* block, int /*record*/, int q, int v) {
    const __m256i values = _mm256_broadcastsi128_si256(
        _mm_setr_epi8(12, 13, 14, 15, 16, 18, 20, 24, 12, 11, 10, 9, 8, 6, 4, 0));
    return _mm256_shuffle_epi8(values, Nibbles(block + kHeaderBytes, 0, q, v));
  }
};

// Bytes for VPMADDWD: [pairs of columns][32 rows][2].
template <typename NumberHeader, int kRecords>
struct SignedByteFormat {
  using H = NumberHeader;
  static constexpr int kGroupRecords = kRecords;
  static constexpr int kHalves = 1;
  static constexpr bool kHasMin = false;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = H::kStoredBytes + kGroup * kRecords;
  static constexpr int64_t kBlockBytes = H::kBytes + 8 * kRecords * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    H::Pack(rows, block);
    CopyHalfWords(rows, H::kStoredBytes, 8 * kRecords, block + H::kBytes);
  }
  static __m256 Scale(const std::byte* block, int /*g*/, int /*half*/, int v) {
    return H::Scale(block, v);
  }
  static __m256i Pair(const std::byte* block, int record, int p, int v) {
    const std::byte* at = block + H::kBytes + (kGroup / 2 * record + p) * (kWordBytes / 2) + 16 * v;
    return _mm256_cvtepi8_epi16(_mm_load_si128(reinterpret_cast<const __m128i*>(at)));
  }
};

// Bytes plus 128 for VPDPBUSD: [quads of columns][32 rows][4].
template <typename NumberHeader, int kRecords>
struct ByteFormat : SignedByteFormat<NumberHeader, kRecords> {
  using H = NumberHeader;
  static constexpr int kOffset = 128;
  static constexpr int kRecentre = 0;

  static void Pack(const Rows& rows, std::byte* block) {
    H::Pack(rows, block);
    std::byte* codes = block + H::kBytes;
    CopyWords(rows, H::kStoredBytes, 8 * kRecords, codes);
    for (int i = 0; i < 8 * kRecords * kPanelVectors; ++i) {
      StoreBytes(_mm256_xor_si256(LoadBytes(codes + 32 * i), _mm256_set1_epi8(-128)),
                 codes + 32 * i);
    }
  }
  static __m256 Min(const std::byte* /*block*/, int /*g*/, int /*half*/, int /*v*/) {
    return _mm256_setzero_ps();
  }
  static __m256i Quad(const std::byte* block, int record, int q, int v) {
    return LoadBytes(WordOf(block + H::kBytes, 8 * record + q, v));
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
