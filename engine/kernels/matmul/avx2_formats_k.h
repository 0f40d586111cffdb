// The GGUF K blocks: 256 columns with small scales for each 32 (Q4_K, Q5_K) or 16 (Q2_K, Q3_K,
// Q6_K). A panel has the scales as bytes, and the stored words of the codes. Only for the AVX2 and
// AVX-VNNI translation units.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

struct KBlock {
  static constexpr int kRecentre = 0;
  static constexpr int kGroupRecords = 1;
  static constexpr int kBlockGroups = 8;
};

// Bits [from, from + ...) of every byte at bit 0, with what `mask` keeps. `from` is known only at
// run time, except to the compiler where it unrolls.
inline __m256i BitsOf(const std::byte* word, int from, int mask) {
  return _mm256_and_si256(_mm256_srl_epi16(LoadBytes(word), _mm_cvtsi32_si128(from)),
                          _mm256_set1_epi8(static_cast<char>(mask)));
}

inline uint32_t LoadWord(const std::byte* p) {
  uint32_t word;
  std::memcpy(&word, p, 4);
  return word;
}

// Scatters the bytes of `word` to to[i * kPanelRows].
inline void PutBytes(uint32_t word, std::byte* to) {
  for (int i = 0; i < 4; ++i) to[i * kPanelRows] = static_cast<std::byte>(word >> (8 * i));
}

// Minus an F16 field of every row.
inline void CopyNegated(const Rows& rows, int64_t offset, std::byte* to) {
  CopyField<2>(rows, offset, to);
  for (int i = 0; i < kPanelRows; ++i) to[2 * i + 1] ^= std::byte{0x80};
}

// w = d sc[g] q - dmin m[g], g = 0..7; q has kBits = 4 or 5. A panel block: d, -dmin F16 [32], sc,
// m U8 [8][32], fifth bits, nibbles. Group g has the low nibbles (even g) or the high ones of the
// words 8 (g / 2) + q, and the bit g of the bytes of the word q.
template <int kBits>
struct ScaleMinFormat : KBlock {
  static_assert(kBits == 4 || kBits == 5);
  static constexpr int kOffset = 0;
  static constexpr int kRecentre = kBits == 5 ? 16 : 0;
  static constexpr int kHalves = 1;
  static constexpr bool kHasMin = true;
  static constexpr int kHighWords = kBits == 5 ? 8 : 0;
  static constexpr int64_t kStoredBytes = 144 + 4 * kHighWords;
  static constexpr int64_t kScalesAt = 4 * kPanelRows;
  static constexpr int64_t kMinsAt = kScalesAt + 8 * kPanelRows;
  static constexpr int64_t kHighAt = kMinsAt + 8 * kPanelRows;
  static constexpr int64_t kLowAt = kHighAt + kHighWords * kWordBytes;
  static constexpr int64_t kBlockBytes = kLowAt + 32 * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    CopyField<2>(rows, 0, block);
    CopyNegated(rows, 2, block + 2 * kPanelRows);
    for (int i = 0; i < kPanelRows; ++i) {
      uint32_t s[3] = {};
      if (rows.at[i] != nullptr) std::memcpy(s, rows.at[i] + 4, sizeof(s));
      PutBytes(s[0] & 0x3F3F3F3FU, block + kScalesAt + i);
      PutBytes(s[1] & 0x3F3F3F3FU, block + kMinsAt + i);
      PutBytes((s[2] & 0x0F0F0F0FU) | (s[0] >> 2 & 0x30303030U),
               block + kScalesAt + 4 * kPanelRows + i);
      PutBytes((s[2] >> 4 & 0x0F0F0F0FU) | (s[1] >> 2 & 0x30303030U),
               block + kMinsAt + 4 * kPanelRows + i);
    }
    CopyWords(rows, 16, kHighWords + 32, block + kHighAt);
  }
  static __m256 Scale(const std::byte* block, int g, int /*half*/, int v) {
    return _mm256_mul_ps(LoadHalfs(block + 16 * v),
                         LoadU8(block + kScalesAt + g * kPanelRows + 8 * v));
  }
  static __m256 Min(const std::byte* block, int g, int /*half*/, int v) {
    return _mm256_mul_ps(LoadHalfs(block + 2 * kPanelRows + 16 * v),
                         LoadU8(block + kMinsAt + g * kPanelRows + 8 * v));
  }
  [[gnu::always_inline]] static __m256i Quad(const std::byte* block, int g, int q, int v) {
    const __m256i word = LoadBytes(WordOf(block + kLowAt, g / 2 * 8 + q, v));
    const __m256i low =
        _mm256_and_si256(g % 2 == 0 ? word : _mm256_srli_epi16(word, 4), _mm256_set1_epi8(15));
    if constexpr (kBits == 4) return low;
    const __m256i high = BitsOf(WordOf(block + kHighAt, q, v), g, 1);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
  }
};

// w = d sc[s] (q - 32), s = 0..15. A panel block: d F16 [32], sc S8 [16][32], the low four bits in
// 32 words, the high two in 16.
struct Q6_K : KBlock {
  static constexpr int kOffset = 32;
  static constexpr int kHalves = 2;
  static constexpr bool kHasMin = false;
  static constexpr int64_t kStoredBytes = 210;
  static constexpr int64_t kScalesAt = 2 * kPanelRows;
  static constexpr int64_t kLowAt = kScalesAt + 16 * kPanelRows;
  static constexpr int64_t kHighAt = kLowAt + 32 * kWordBytes;
  static constexpr int64_t kBlockBytes = kHighAt + 16 * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    CopyField<2>(rows, 208, block);
    for (int i = 0; i < kPanelRows; ++i) {
      uint32_t s[4] = {};
      if (rows.at[i] != nullptr) std::memcpy(s, rows.at[i] + 192, sizeof(s));
      for (int j = 0; j < 4; ++j) PutBytes(s[j], block + kScalesAt + 4 * j * kPanelRows + i);
    }
    CopyWords(rows, 0, 48, block + kLowAt);
  }
  static __m256 Scale(const std::byte* block, int g, int half, int v) {
    return _mm256_mul_ps(LoadHalfs(block + 16 * v),
                         LoadS8(block + kScalesAt + (2 * g + half) * kPanelRows + 8 * v));
  }
  // Group g is the quarter g % 4 of the half g / 4 of the block.
  [[gnu::always_inline]] static __m256i Quad(const std::byte* block, int g, int q, int v) {
    const int half = g / 4;
    const __m256i low =
        BitsOf(WordOf(block + kLowAt, half * 16 + g % 2 * 8 + q, v), g / 2 % 2 * 4, 15);
    const __m256i high = BitsOf(WordOf(block + kHighAt, half * 8 + q, v), g % 4 * 2, 3);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 4));
  }
};

// w = d sc[s] (q - 4), s = 0..15. A panel block: d F16 [32], sc S8 [16][32], the high bits in 8
// words, the low two in 16.
struct Q3_K : KBlock {
  static constexpr int kOffset = 4;
  static constexpr int kHalves = 2;
  static constexpr bool kHasMin = false;
  static constexpr int64_t kStoredBytes = 110;
  static constexpr int64_t kScalesAt = 2 * kPanelRows;
  static constexpr int64_t kHighAt = kScalesAt + 16 * kPanelRows;
  static constexpr int64_t kLowAt = kHighAt + 8 * kWordBytes;
  static constexpr int64_t kBlockBytes = kLowAt + 16 * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    CopyField<2>(rows, 108, block);
    for (int i = 0; i < kPanelRows; ++i) {
      for (int j = 0; j < 4; ++j) {
        uint32_t scales = 0;
        if (const std::byte* row = rows.at[i]; row != nullptr) {
          const uint32_t low = LoadWord(row + 96 + j % 2 * 4) >> (j / 2 * 4) & 0x0F0F0F0FU;
          const uint32_t high = LoadWord(row + 104) >> (2 * j) & 0x03030303U;
          // Six bits that stand for -32..31, as signed bytes.
          scales = (low | high << 4) ^ 0x20202020U;
          scales |= (scales & 0x20202020U) << 1 | (scales & 0x20202020U) << 2;
        }
        PutBytes(scales, block + kScalesAt + 4 * j * kPanelRows + i);
      }
    }
    CopyWords(rows, 0, 24, block + kHighAt);
  }
  static __m256 Scale(const std::byte* block, int g, int half, int v) {
    return Q6_K::Scale(block, g, half, v);
  }
  [[gnu::always_inline]] static __m256i Quad(const std::byte* block, int g, int q, int v) {
    const __m256i low = BitsOf(WordOf(block + kLowAt, g / 4 * 8 + q, v), g % 4 * 2, 3);
    const __m256i high = BitsOf(WordOf(block + kHighAt, q, v), g, 1);
    return _mm256_or_si256(low, _mm256_slli_epi16(high, 2));
  }
};

// w = d sc[s] q - dmin m[s], s = 0..15. A panel block: d, -dmin F16 [32], sc, m U8 [16][32], codes
// in 16 words.
struct Q2_K : KBlock {
  static constexpr int kOffset = 0;
  static constexpr int kHalves = 2;
  static constexpr bool kHasMin = true;
  static constexpr int64_t kStoredBytes = 84;
  static constexpr int64_t kScalesAt = 4 * kPanelRows;
  static constexpr int64_t kMinsAt = kScalesAt + 16 * kPanelRows;
  static constexpr int64_t kCodesAt = kMinsAt + 16 * kPanelRows;
  static constexpr int64_t kBlockBytes = kCodesAt + 16 * kWordBytes;

  static void Pack(const Rows& rows, std::byte* block) {
    CopyField<2>(rows, 80, block);
    CopyNegated(rows, 82, block + 2 * kPanelRows);
    for (int i = 0; i < kPanelRows; ++i) {
      uint32_t s[4] = {};
      if (rows.at[i] != nullptr) std::memcpy(s, rows.at[i], sizeof(s));
      for (int j = 0; j < 4; ++j) {
        PutBytes(s[j] & 0x0F0F0F0FU, block + kScalesAt + 4 * j * kPanelRows + i);
        PutBytes(s[j] >> 4 & 0x0F0F0F0FU, block + kMinsAt + 4 * j * kPanelRows + i);
      }
    }
    CopyWords(rows, 16, 16, block + kCodesAt);
  }
  static __m256 Scale(const std::byte* block, int g, int half, int v) {
    return _mm256_mul_ps(LoadHalfs(block + 16 * v),
                         LoadU8(block + kScalesAt + (2 * g + half) * kPanelRows + 8 * v));
  }
  static __m256 Min(const std::byte* block, int g, int half, int v) {
    return _mm256_mul_ps(LoadHalfs(block + 2 * kPanelRows + 16 * v),
                         LoadU8(block + kMinsAt + (2 * g + half) * kPanelRows + 8 * v));
  }
  [[gnu::always_inline]] static __m256i Quad(const std::byte* block, int g, int q, int v) {
    return BitsOf(WordOf(block + kCodesAt, g / 4 * 8 + q, v), g % 4 * 2, 3);
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
