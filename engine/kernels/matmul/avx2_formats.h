// The GGUF block formats with kernels of their own at the AVX2 and AVX-VNNI levels: how a panel
// holds them, and one group of 32 columns. `Dot` is the level's arithmetic (avx2.cc, avxvnni.cc).
//
// Stored layouts: docs/file-formats.md, engine/kernels/dequantize_blocks.cc.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

inline uint32_t ByteAt(const std::byte* p, int64_t i) { return static_cast<uint32_t>(p[i]); }

// A group of nibbles in a panel: [4][32 rows][4 bytes]; byte b of word j holds column 8 j + b below
// and column 8 j + 4 + b above.
constexpr int kNibbleBytes = 4 * kPanelRows * 4;

inline void PackNibbles(const uint8_t (&codes)[kGroup], int row, std::byte* group) {
  for (int j = 0; j < 4; ++j) {
    for (int b = 0; b < 4; ++b) {
      group[j * kPanelRows * 4 + row * 4 + b] =
          static_cast<std::byte>(codes[8 * j + b] | codes[8 * j + 4 + b] << 4);
    }
  }
}

// Columns 0..15 of a stored group of nibbles are the low halves, 16..31 the high ones.
inline void UnpackStored(const std::byte* qs, uint8_t (&codes)[kGroup]) {
  for (int j = 0; j < 16; ++j) {
    codes[j] = static_cast<uint8_t>(ByteAt(qs, j) & 15U);
    codes[j + 16] = static_cast<uint8_t>(ByteAt(qs, j) >> 4);
  }
}

// w = d (q - 8). A panel block: d F16 [32], nibbles.
template <typename Dot>
struct Q4_0 {
  static constexpr int Columns(int rows) { return TileColumns(rows); }
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 18;
  static constexpr int64_t kBlockBytes = 2 * kPanelRows + kNibbleBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    uint8_t codes[kGroup];
    UnpackStored(stored + 2, codes);
    PackNibbles(codes, row, block + 2 * kPanelRows);
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
    Dot::template Nibbles<R, C>(block + 2 * kPanelRows + 32 * c0, x, sum);
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = LoadHalfs(block + 16 * (c0 + c));
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256i eight = _mm256_slli_epi32(Broadcast(x + GroupOffsets::kSum * R + 4 * r), 3);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = _mm256_sub_epi32(sum[r][c], eight);
    }
    AddScaled<R, C>(sum, d, x, sums);
  }
};

// w = d q + m. A panel block: d F16 [32], m F16 [32], nibbles.
template <typename Dot>
struct Q4_1 {
  static constexpr int Columns(int rows) { return TileColumns(rows); }
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 20;
  static constexpr int64_t kBlockBytes = 4 * kPanelRows + kNibbleBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    std::memcpy(block + 2 * kPanelRows + 2 * row, stored + 2, 2);
    uint8_t codes[kGroup];
    UnpackStored(stored + 4, codes);
    PackNibbles(codes, row, block + 4 * kPanelRows);
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
    Dot::template Nibbles<R, C>(block + 4 * kPanelRows + 32 * c0, x, sum);
    FloatRow<C> d;
    FloatRow<C> m;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      d[c] = LoadHalfs(block + 16 * (c0 + c));
      m[c] = LoadHalfs(block + 2 * kPanelRows + 16 * (c0 + c));
    }
    AddScaledAndMin<R, C>(sum, d, m, x, sums);
  }
};

// w = d sc[g] q - dmin m[g], g = 0..7. A panel block: d F16 [32], dmin F16 [32], then eight times
// sc U8 [32], m U8 [32], nibbles. (Scales unpacked to bytes: 148 bytes a row for 144 stored.)
template <typename Dot>
struct Q4_K {
  static constexpr int Columns(int rows) { return TileColumns(rows); }
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kStoredBytes = 144;
  static constexpr int64_t kHeaderBytes = 4 * kPanelRows;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + kNibbleBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    std::memcpy(block + 2 * kPanelRows + 2 * row, stored + 2, 2);
    const std::byte* s = stored + 4;
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      const uint32_t scale =
          g < 4 ? ByteAt(s, g) & 63U : (ByteAt(s, g + 4) & 15U) | ByteAt(s, g - 4) >> 6 << 4;
      const uint32_t min =
          g < 4 ? ByteAt(s, g + 4) & 63U : ByteAt(s, g + 4) >> 4 | ByteAt(s, g) >> 6 << 4;
      group[row] = static_cast<std::byte>(scale);
      group[kPanelRows + row] = static_cast<std::byte>(min);
      const std::byte* qs = stored + 16 + g / 2 * 32;
      uint8_t codes[kGroup];
      for (int j = 0; j < kGroup; ++j) {
        codes[j] = static_cast<uint8_t>(ByteAt(qs, j) >> (g % 2 * 4) & 15U);
      }
      PackNibbles(codes, row, group + 2 * kPanelRows);
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int g, int c0,
                                              const std::byte* x, float* sums) {
    const std::byte* group = block + kHeaderBytes + g * kGroupBytes;
    IntTile<R, C> sum;
    Dot::template Nibbles<R, C>(group + 2 * kPanelRows + 32 * c0, x, sum);
    FloatRow<C> d;
    FloatRow<C> m;
    const __m256 sign = _mm256_set1_ps(-0.0F);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const int at = c0 + c;
      d[c] = _mm256_mul_ps(LoadHalfs(block + 16 * at), LoadU8(group + 8 * at));
      const __m256 dmin = _mm256_xor_ps(LoadHalfs(block + 2 * kPanelRows + 16 * at), sign);
      m[c] = _mm256_mul_ps(dmin, LoadU8(group + kPanelRows + 8 * at));
    }
    AddScaledAndMin<R, C>(sum, d, m, x, sums);
  }
};

// w = d sc[s] (q - 32), s = 0..15 (16 columns each). A panel block: d F16 [32], then eight times
// sc S8 [2][32], nibbles (the low four bits), and the upper two bits as [2][32 rows][4 bytes]: bits
// 2 i, 2 i + 1 of byte b of word h are those of column 16 h + 4 i + b.
template <typename Dot>
struct Q6_K {
  // A tile needs two accumulators for each output.
  static constexpr int Columns(int rows) { return rows == 1 ? 4 : rows == 2 ? 2 : 1; }
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kStoredBytes = 210;
  static constexpr int64_t kHeaderBytes = 2 * kPanelRows;
  static constexpr int64_t kHighBytes = 2 * kPanelRows * 4;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + kNibbleBytes + kHighBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored + 208, 2);
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      group[row] = stored[192 + 2 * g];
      group[kPanelRows + row] = stored[192 + 2 * g + 1];
      const std::byte* ql = stored + g / 4 * 64 + g % 2 * 32;
      const std::byte* qh = stored + 128 + g / 4 * 32;
      uint8_t codes[kGroup];
      std::byte* high = group + 2 * kPanelRows + kNibbleBytes + row * 4;
      for (int j = 0; j < kGroup; ++j) {
        codes[j] = static_cast<uint8_t>(ByteAt(ql, j) >> (g % 4 / 2 * 4) & 15U);
        const uint32_t bits = ByteAt(qh, j) >> (2 * (g % 4)) & 3U;
        high[j / 16 * kPanelRows * 4 + j % 4] |= static_cast<std::byte>(bits << (j % 16 / 4 * 2));
      }
      PackNibbles(codes, row, group + 2 * kPanelRows);
    }
  }

  // The six bits of the four columns of quad q = 0..7 in C vectors.
  [[gnu::always_inline]] static __m256i Quad(const std::byte* nibbles, int q, int c) {
    const __m256i low = LoadBytes(nibbles + q / 2 * kPanelRows * 4 + 32 * c);
    const __m256i high = LoadBytes(nibbles + kNibbleBytes + q / 4 * kPanelRows * 4 + 32 * c);
    const __m256i four = q % 2 == 0 ? low : _mm256_srli_epi16(low, 4);
    const __m256i two = q % 4 == 0   ? _mm256_slli_epi16(high, 4)
                        : q % 4 == 1 ? _mm256_slli_epi16(high, 2)
                        : q % 4 == 2 ? high
                                     : _mm256_srli_epi16(high, 2);
    return _mm256_or_si256(_mm256_and_si256(four, _mm256_set1_epi8(15)),
                           _mm256_and_si256(two, _mm256_set1_epi8(48)));
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int g, int c0,
                                              const std::byte* x, float* sums) {
    const std::byte* group = block + kHeaderBytes + g * kGroupBytes;
    const std::byte* nibbles = group + 2 * kPanelRows + 32 * c0;
    // Integers below 2^24: scale times sum of a half, and the two together, are exact in float.
    FloatTile<R, C> total;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      IntTile<R, C> sum;
      Dot::template SixBits<R, C>(nibbles, half, x, sum);
      FloatRow<C> scale;
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) scale[c] = LoadS8(group + half * kPanelRows + 8 * (c0 + c));
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        const __m256i offset =
            _mm256_slli_epi32(Broadcast(x + (GroupOffsets::kHalfSums + 4 * half) * R + 4 * r), 5);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const __m256 s = _mm256_cvtepi32_ps(_mm256_sub_epi32(sum[r][c], offset));
          total[r][c] =
              half == 0 ? _mm256_mul_ps(s, scale[c]) : _mm256_fmadd_ps(s, scale[c], total[r][c]);
        }
      }
    }
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = LoadHalfs(block + 16 * (c0 + c));
    AddFloats<R, C>(total, d, x, sums);
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
