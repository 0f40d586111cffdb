// GGUF blocks of one group: Q8_0, Q4_0, Q4_1, Q5_0, Q5_1, MXFP4. Only for the AVX2 and AVX-VNNI
// translation units; `Dot` is their arithmetic.
//
// Stored layouts: docs/file-formats.md, engine/kernels/dequantize_blocks.cc.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_codes.h"
#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

inline uint32_t ByteAt(const std::byte* p, int64_t i) { return static_cast<uint32_t>(p[i]); }

// Columns 0..15 of a stored group of nibbles are the low halves of 16 bytes, 16..31 the high ones.
inline uint32_t StoredNibble(const std::byte* qs, int j) {
  return j < 16 ? ByteAt(qs, j) & 15U : ByteAt(qs, j - 16) >> 4;
}
// The fifth bits of 32 columns are one little-endian word.
inline uint32_t StoredBit(const std::byte* qh, int j) { return ByteAt(qh, j / 8) >> (j % 8) & 1U; }

// What is stored: the scale comes first, then the minimum if there is one.
struct StoredQ8_0 {
  using Codes = ByteCodes;
  static constexpr int64_t kBytes = 34;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = false;
  static uint32_t Code(const std::byte* stored, int j) { return ByteAt(stored, 2 + j); }
};
struct StoredQ4_0 {
  using Codes = PlaneCodes<4>;
  static constexpr int64_t kBytes = 18;
  static constexpr int kOffset = 8;
  static constexpr bool kHasMin = false;
  static uint32_t Code(const std::byte* stored, int j) { return StoredNibble(stored + 2, j); }
};
struct StoredQ4_1 {
  using Codes = PlaneCodes<4>;
  static constexpr int64_t kBytes = 20;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true;
  static uint32_t Code(const std::byte* stored, int j) { return StoredNibble(stored + 4, j); }
};
struct StoredQ5_0 {
  using Codes = TwoPlaneCodes<4, 1>;
  static constexpr int64_t kBytes = 22;
  static constexpr int kOffset = 16;
  static constexpr bool kHasMin = false;
  static uint32_t Code(const std::byte* stored, int j) {
    return StoredNibble(stored + 6, j) | StoredBit(stored + 2, j) << 4;
  }
};
struct StoredQ5_1 {
  using Codes = TwoPlaneCodes<4, 1>;
  static constexpr int64_t kBytes = 24;
  static constexpr int kOffset = 0;
  static constexpr bool kHasMin = true;
  static uint32_t Code(const std::byte* stored, int j) {
    return StoredNibble(stored + 8, j) | StoredBit(stored + 4, j) << 4;
  }
};

// A panel block: d F16 [32], m F16 [32] if there is one, codes.
template <typename Dot, typename Stored>
struct PlainFormat {
  using Codes = typename Stored::Codes;
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = Stored::kBytes;
  static constexpr int64_t kHeaderBytes = (Stored::kHasMin ? 4 : 2) * kPanelRows;
  static constexpr int64_t kBlockBytes = kHeaderBytes + Codes::kBytes;
  static constexpr int Columns(int rows) { return TileColumns(rows); }

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    if (Stored::kHasMin) std::memcpy(block + 2 * kPanelRows + 2 * row, stored + 2, 2);
    for (int j = 0; j < kGroup; ++j) {
      Codes::Put(block + kHeaderBytes, row, j, Stored::Code(stored, j));
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
    SumPairs<Dot, Codes, R, C>(block + kHeaderBytes, c0, 0, kGroup / 2, x, sum);
    TakeOffset<Stored::kOffset, R, C>(x + GroupOffsets::kSum * R, sum);
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = LoadHalfs(block + 16 * (c0 + c));
    if constexpr (Stored::kHasMin) {
      FloatRow<C> m;
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) m[c] = LoadHalfs(block + 2 * kPanelRows + 16 * (c0 + c));
      AddScaledAndMin<R, C>(sum, d, m, x, sums);
    } else {
      AddScaled<R, C>(sum, d, x, sums);
    }
  }
};

// w = 2^(e - 128) * (twice the value). A panel block: e U8 [32], padded to 64 bytes, codes.
template <typename Dot>
struct MXFP4 {
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 17;
  static constexpr int64_t kHeaderBytes = 64;
  static constexpr int64_t kBlockBytes = kHeaderBytes + E2M1Codes::kBytes;
  static constexpr int Columns(int rows) { return TileColumns(rows); }

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    block[row] = stored[0];
    for (int j = 0; j < kGroup; ++j) {
      E2M1Codes::Put(block + kHeaderBytes, row, j, StoredNibble(stored + 1, j));
    }
  }

  // Eight exponents e as 2^(e - 128); 0 and 1 give subnormal floats.
  static __m256 Scales(const std::byte* exponents) {
    const __m256i e =
        _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(exponents)));
    const __m256i normal = _mm256_slli_epi32(_mm256_sub_epi32(e, _mm256_set1_epi32(1)), 23);
    const __m256i tiny = _mm256_sllv_epi32(_mm256_set1_epi32(0x00200000), e);
    return _mm256_castsi256_ps(
        _mm256_blendv_epi8(normal, tiny, _mm256_cmpgt_epi32(_mm256_set1_epi32(2), e)));
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
    SumPairs<Dot, E2M1Codes, R, C>(block + kHeaderBytes, c0, 0, kGroup / 2, x, sum);
    TakeOffset<12, R, C>(x + GroupOffsets::kSum * R, sum);
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = Scales(block + 8 * (c0 + c));
    AddScaled<R, C>(sum, d, x, sums);
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
