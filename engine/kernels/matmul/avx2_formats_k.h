// The GGUF K blocks: 256 columns with small scales for each 32 (Q4_K, Q5_K) or 16 (Q2_K, Q3_K,
// Q6_K). A panel unpacks the scales to bytes. Only for the AVX2 and AVX-VNNI translation units.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_codes.h"
#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_groups.h"

namespace inhouse::engine::avx2 {
namespace {

template <int kBits>
struct CodesOf {
  using Type = TwoPlaneCodes<4, 1>;
};
template <>
struct CodesOf<4> {
  using Type = PlaneCodes<4>;
};

// w = d sc[g] q - dmin m[g], g = 0..7; q has kBits = 4 or 5. A panel block: d F16 [32], dmin F16
// [32], then eight times sc U8 [32], m U8 [32], codes.
template <typename Dot, int kBits>
struct ScaleMinFormat {
  static_assert(kBits == 4 || kBits == 5);
  using Codes = typename CodesOf<kBits>::Type;
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kHighBytes = kBits == 5 ? 32 : 0;  // stored before the nibbles
  static constexpr int64_t kStoredBytes = 144 + kHighBytes;
  static constexpr int64_t kHeaderBytes = 4 * kPanelRows;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + Codes::kBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;
  static constexpr int Columns(int rows) { return TileColumns(rows); }

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
      for (int j = 0; j < kGroup; ++j) {
        uint32_t code = ByteAt(stored, 16 + kHighBytes + g / 2 * 32 + j) >> (g % 2 * 4) & 15U;
        if (kBits == 5) code |= (ByteAt(stored, 16 + j) >> g & 1U) << 4;
        Codes::Put(group + 2 * kPanelRows, row, j, code);
      }
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int g, int c0,
                                              const std::byte* x, float* sums) {
    const std::byte* group = block + kHeaderBytes + g * kGroupBytes;
    IntTile<R, C> sum;
    SumPairs<Dot, Codes, R, C>(group + 2 * kPanelRows, c0, 0, kGroup / 2, x, sum);
    FloatRow<C> d;
    FloatRow<C> m;
    const __m256 sign = _mm256_set1_ps(-0.0F);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const int v = c0 + c;
      d[c] = _mm256_mul_ps(LoadHalfs(block + 16 * v), LoadU8(group + 8 * v));
      const __m256 dmin = _mm256_xor_ps(LoadHalfs(block + 2 * kPanelRows + 16 * v), sign);
      m[c] = _mm256_mul_ps(dmin, LoadU8(group + kPanelRows + 8 * v));
    }
    AddScaledAndMin<R, C>(sum, d, m, x, sums);
  }
};

// Stored blocks with a signed scale for each 16 columns, w = d sc[s] (q - kOffset).
struct StoredQ6_K {
  using Codes = TwoPlaneCodes<4, 2>;
  static constexpr int64_t kBytes = 210;
  static constexpr int64_t kScale = 208;  // where d stands
  static constexpr int kOffset = 32;
  static uint32_t Code(const std::byte* stored, int j) {
    const int half = j / 128;
    const int quarter = j / 32 % 4;
    const uint32_t low = ByteAt(stored, half * 64 + quarter % 2 * 32 + j % 32) >> (quarter / 2 * 4);
    const uint32_t high = ByteAt(stored, 128 + half * 32 + j % 32) >> (2 * quarter);
    return (low & 15U) | (high & 3U) << 4;
  }
  static uint32_t Scale(const std::byte* stored, int s) { return ByteAt(stored, 192 + s); }
};
struct StoredQ3_K {
  using Codes = TwoPlaneCodes<2, 1>;
  static constexpr int64_t kBytes = 110;
  static constexpr int64_t kScale = 108;
  static constexpr int kOffset = 4;
  static uint32_t Code(const std::byte* stored, int j) {
    const uint32_t low = ByteAt(stored, 32 + j / 128 * 32 + j % 32) >> (j / 32 % 4 * 2);
    const uint32_t high = ByteAt(stored, j % 32) >> (j / 32);
    return (low & 3U) | (high & 1U) << 2;
  }
  static uint32_t Scale(const std::byte* stored, int s) {
    const std::byte* sc = stored + 96;
    const uint32_t low = s < 8 ? ByteAt(sc, s) & 15U : ByteAt(sc, s - 8) >> 4;
    const uint32_t high = ByteAt(sc, 8 + s % 4) >> (2 * (s / 4)) & 3U;
    return (low | high << 4) - 32U;  // as a signed byte
  }
};

// A panel block: d F16 [32], then eight times sc S8 [2][32], codes.
template <typename Dot, typename Stored>
struct HalfGroupFormat {
  using Codes = typename Stored::Codes;
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kStoredBytes = Stored::kBytes;
  static constexpr int64_t kHeaderBytes = 2 * kPanelRows;
  static constexpr int64_t kGroupBytes = 2 * kPanelRows + Codes::kBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;
  // A tile needs two accumulators for each output.
  static constexpr int Columns(int rows) { return rows <= 2 ? 2 : 1; }

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored + Stored::kScale, 2);
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      group[row] = static_cast<std::byte>(Stored::Scale(stored, 2 * g));
      group[kPanelRows + row] = static_cast<std::byte>(Stored::Scale(stored, 2 * g + 1));
      for (int j = 0; j < kGroup; ++j) {
        Codes::Put(group + 2 * kPanelRows, row, j, Stored::Code(stored, kGroup * g + j));
      }
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int g, int c0,
                                              const std::byte* x, float* sums) {
    const std::byte* group = block + kHeaderBytes + g * kGroupBytes;
    FloatTile<R, C> total;
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      IntTile<R, C> sum;
      SumPairs<Dot, Codes, R, C>(group + 2 * kPanelRows, c0, 8 * half, 8 * half + 8, x, sum);
      TakeOffset<Stored::kOffset, R, C>(x + (GroupOffsets::kHalfSums + 4 * half) * R, sum);
      FloatRow<C> scale;
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) scale[c] = LoadS8(group + half * kPanelRows + 8 * (c0 + c));
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const __m256 s = _mm256_cvtepi32_ps(sum[r][c]);
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

// w = d sc[s] q - dmin m[s], s = 0..15. A panel block: d F16 [32], dmin F16 [32], then eight times
// sc U8 [2][32], m U8 [2][32], codes.
template <typename Dot>
struct Q2_K {
  using Codes = PlaneCodes<2>;
  static constexpr int kBlockGroups = 8;
  static constexpr int64_t kStoredBytes = 84;
  static constexpr int64_t kHeaderBytes = 4 * kPanelRows;
  static constexpr int64_t kGroupBytes = 4 * kPanelRows + Codes::kBytes;
  static constexpr int64_t kBlockBytes = kHeaderBytes + 8 * kGroupBytes;
  static constexpr int Columns(int rows) { return rows <= 2 ? 2 : 1; }

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored + 80, 2);
    std::memcpy(block + 2 * kPanelRows + 2 * row, stored + 82, 2);
    for (int g = 0; g < 8; ++g) {
      std::byte* group = block + kHeaderBytes + g * kGroupBytes;
      for (int half = 0; half < 2; ++half) {
        const uint32_t scale = ByteAt(stored, 2 * g + half);
        group[half * kPanelRows + row] = static_cast<std::byte>(scale & 15U);
        group[(2 + half) * kPanelRows + row] = static_cast<std::byte>(scale >> 4);
      }
      for (int j = 0; j < kGroup; ++j) {
        const uint32_t code = ByteAt(stored, 16 + g / 4 * 32 + j) >> (g % 4 * 2) & 3U;
        Codes::Put(group + 4 * kPanelRows, row, j, code);
      }
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int g, int c0,
                                              const std::byte* x, float* sums) {
    const std::byte* group = block + kHeaderBytes + g * kGroupBytes;
    FloatRow<C> d;
    FloatRow<C> dmin;
    const __m256 sign = _mm256_set1_ps(-0.0F);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      d[c] = LoadHalfs(block + 16 * (c0 + c));
      dmin[c] = _mm256_xor_ps(LoadHalfs(block + 2 * kPanelRows + 16 * (c0 + c)), sign);
    }
#pragma GCC unroll 2
    for (int half = 0; half < 2; ++half) {
      IntTile<R, C> sum;
      SumPairs<Dot, Codes, R, C>(group + 4 * kPanelRows, c0, 8 * half, 8 * half + 8, x, sum);
      const std::byte* half_sums = x + (GroupOffsets::kHalfSums + 4 * half) * R;
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        const __m256 scale = LoadU8(group + half * kPanelRows + 8 * (c0 + c));
        const __m256 min = LoadU8(group + (2 + half) * kPanelRows + 8 * (c0 + c));
        const __m256 low = _mm256_mul_ps(dmin[c], min);
        const __m256 high = _mm256_mul_ps(d[c], scale);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const __m256 x_scale = BroadcastFloat(x + GroupOffsets::kScale * R + 4 * r);
          const __m256 x_sum = _mm256_cvtepi32_ps(Broadcast(half_sums + 4 * r));
          float* to = sums + r * kPanelRows + 8 * c;
          const __m256 base =
              _mm256_fmadd_ps(_mm256_mul_ps(x_sum, x_scale), low, _mm256_load_ps(to));
          const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[r][c]), x_scale);
          _mm256_store_ps(to, _mm256_fmadd_ps(product, high, base));
        }
      }
    }
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
