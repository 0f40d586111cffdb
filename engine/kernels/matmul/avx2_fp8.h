// E4M3 weights at the AVX2 level: plain, or in groups of 128 or 32 columns with a float scale. They
// are decoded exactly, and multiplied in float32. For avx2.cc only.
//
// A panel: 64 bytes of which the first says whether a code is NaN; then for each group the scales
// float [32] (none if plain), and codes [words of four columns][32 rows][4].
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_float.h"
#include "engine/kernels/matmul/avx2_pack.h"
#include "engine/kernels/matmul/avx2_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

// Four codes of each of eight rows as floats, out[column].
//
// Moved by 20 bits, the exponent and the mantissa of E4M3 stand where a float has them, and the
// float is 2^-120 times the value: for subnormal codes, too, which become subnormal floats. x makes
// up for it (PackScaledStrip). Two codes are moved at a time, in 16 bits. NaN becomes 480.
[[gnu::always_inline]] inline void DecodeE4M3(__m256i words, __m256 out[4]) {
  const __m256i mask = _mm256_set1_epi32(static_cast<int32_t>(0x87F00000U));
  const __m256i odd = _mm256_srai_epi16(words, 4);
  const __m256i even = _mm256_srai_epi16(_mm256_slli_epi16(words, 8), 4);
  const __m256i bits[4] = {_mm256_slli_epi32(even, 16), _mm256_slli_epi32(odd, 16), even, odd};
#pragma GCC unroll 4
  for (int j = 0; j < 4; ++j) out[j] = _mm256_castsi256_ps(_mm256_and_si256(bits[j], mask));
}

// Brings the floats of DecodeE4M3 back to their size, and the products with true weights to theirs.
constexpr float kUp = 0x1p120F;
constexpr float kDown = 0x1p-120F;

constexpr int64_t kFlagBytes = 64;
// Columns that are decoded at a time for many rows.
constexpr int64_t kDecodeColumns = 128;
// Up to so many rows take a panel as it is, kTileRows at a time.
constexpr int64_t kDirectRows = 18;  // beyond, subnormal weights would cost some CPUs too much
constexpr int kTileRows = 3;

template <int kGroupColumns, bool kScaled>
struct Fp8Kernel {
  static constexpr int64_t kScaleBytes = kScaled ? kWordBytes : 0;
  static constexpr int64_t kGroupBytes = kScaleBytes + kGroupColumns / 4 * kWordBytes;
  static constexpr int64_t kStoredBytes = (kScaled ? 4 : 0) + kGroupColumns;

  static int64_t Groups(int64_t k) { return (k + kGroupColumns - 1) / kGroupColumns; }
  static int64_t PanelBytes(int64_t k) { return kFlagBytes + Groups(k) * kGroupBytes; }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return kDecodeColumns * kWordBytes +
           kChunkStrips * kStripSums * static_cast<int64_t>(sizeof(float));
  }

  static bool HasNan(const std::byte* codes, int64_t bytes) {
    __m256i found = _mm256_setzero_si256();
    const __m256i nan = _mm256_set1_epi8(0x7F);
    for (int64_t i = 0; i < bytes; i += 32) {
      const __m256i magnitude = _mm256_and_si256(LoadBytes(codes + i), nan);
      found = _mm256_or_si256(found, _mm256_cmpeq_epi8(magnitude, nan));
    }
    return _mm256_movemask_epi8(found) != 0;
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    Rows at(rows, n_rows);
    bool nan = false;
    std::byte* group = panel + kFlagBytes;
    for (int64_t begin = 0; begin < k; begin += kGroupColumns) {
      std::byte* codes = group + kScaleBytes;
      if constexpr (kScaled) {
        CopyField<4>(at, 0, group);
        CopyWords(at, 4, kGroupColumns / 4, codes);
      } else {
        const int64_t n = k - begin < kGroupColumns ? k - begin : kGroupColumns;
        CopyRows(at, n, (n + 3) / 4, codes, CopyWords);
        const int64_t used = (n + 3) / 4 * kWordBytes;
        std::memset(codes + used, 0, static_cast<size_t>(kGroupBytes - used));
      }
      nan |= HasNan(codes, kGroupBytes - kScaleBytes);
      at.Advance(kStoredBytes);
      group += kGroupBytes;
    }
    std::memset(panel, 0, kFlagBytes);
    panel[0] = static_cast<std::byte>(nan);
  }

  // sums[r][c] += scale[c] * acc[r][c], from the vector c0 on; acc is of true weights or small
  // ones.
  template <bool kTrue, int R, int C>
  [[gnu::always_inline]] static void Flush(const Tile<R, C>& acc, const std::byte* scales, int c0,
                                           float* sums) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m256 scale = kScaled ? LoadFloats(scales + 32 * (c0 + c)) : _mm256_set1_ps(1.0F);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        float* to = sums + r * kPanelRows + 8 * (c0 + c);
        const __m256 sum = kTrue ? _mm256_mul_ps(acc[r][c], _mm256_set1_ps(kDown)) : acc[r][c];
        _mm256_store_ps(to, _mm256_fmadd_ps(sum, scale, _mm256_load_ps(to)));
      }
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void Clear(Tile<R, C>& acc) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) acc[r][c] = _mm256_setzero_ps();
    }
  }

  // All of a panel for R rows of a strip, decoded in registers; `x` stands at the first of them,
  // which is row m of the product.
  template <int R>
  [[gnu::noinline]] static void RunTile(const PanelProduct& p, const float* x, int64_t strip,
                                        int64_t m) {
    alignas(64) float sums[static_cast<size_t>(R) * kPanelRows] = {};
    constexpr int C = kPanelVectors;
    const std::byte* group = p.panel + kFlagBytes;
    for (int64_t begin = 0; begin < p.k; begin += kGroupColumns) {
      const int64_t n = p.k - begin < kGroupColumns ? p.k - begin : kGroupColumns;
      Tile<R, C> acc;
      Clear<R, C>(acc);
      const std::byte* codes = group + kScaleBytes;
      for (int64_t j = 0; j < n; j += 4) {
        Prefetch<kWordBytes>(codes + kPrefetchBytes);
#pragma GCC unroll 4
        for (int c = 0; c < C; ++c) {
          __m256 w[4];
          DecodeE4M3(LoadBytes(codes + 32 * c), w);
#pragma GCC unroll 4
          for (int i = 0; i < 4; ++i) {
#pragma GCC unroll 4
            for (int r = 0; r < R; ++r) {
              AddProduct(w[i], _mm256_broadcast_ss(x + i * strip + r), acc[r][c]);
            }
          }
        }
        codes += kWordBytes;
        x += 4 * strip;
      }
      Flush<false, R, C>(acc, group, 0, sums);
      group += kGroupBytes;
    }
    GiveBack(x, strip, R, sums);
    StoreRows(p, m, R, sums);
  }

  static void RunDirect(const PanelProduct& p) {
    constexpr void (*kTiles[])(const PanelProduct&, const float*, int64_t, int64_t) = {
        RunTile<1>, RunTile<2>, RunTile<3>};
    for (int64_t m = 0; m < p.m; m += kStripRows) {
      const auto* x = reinterpret_cast<const float*>(p.x + m / kStripRows * ScaledStripBytes(p.k));
      const int64_t strip = p.m - m < kStripRows ? p.m - m : kStripRows;
      for (int64_t row = 0; row < strip; row += kTileRows) {
        const int64_t rows = strip - row < kTileRows ? strip - row : kTileRows;
        kTiles[rows - 1](p, x + row, strip, m + row);
      }
    }
  }

  // Multiplies the sums by the factors of a strip of that many rows.
  static void GiveBack(const float* factors, int64_t strip, int64_t rows, float* sums) {
    for (int64_t r = 0; r < rows; ++r) {
      for (int64_t i = 0; i < kPanelRows; ++i) {
        float& sum = sums[r * kPanelRows + i];
        sum = sum * factors[r] * factors[strip + r];
      }
    }
  }

  // `n` columns of a group as floats [n][32], n rounded up to 4; NaN is NaN. They get their true
  // size here: some CPUs take a hundred cycles for a multiply-add with a subnormal number, and each
  // of these weights is in many.
  static void Decode(const std::byte* codes, int64_t n, std::byte* to) {
    const __m256 up = _mm256_set1_ps(kUp);
    const __m256 top = _mm256_set1_ps(480.0F);
    const __m256 sign = _mm256_set1_ps(-0.0F);
    for (int64_t j = 0; j < n; j += 4) {
      for (int c = 0; c < kPanelVectors; ++c) {
        __m256 w[4];
        DecodeE4M3(LoadBytes(codes + 32 * c), w);
#pragma GCC unroll 4
        for (int i = 0; i < 4; ++i) {
          const __m256 value = _mm256_mul_ps(w[i], up);
          const __m256 nan = _mm256_cmp_ps(_mm256_andnot_ps(sign, value), top, _CMP_EQ_OQ);
          _mm256_store_ps(reinterpret_cast<float*>(to + i * kWordBytes + 32 * c),
                          _mm256_or_ps(value, nan));
        }
      }
      codes += kWordBytes;
      to += 4 * kWordBytes;
    }
  }

  // A decoded group of `n` columns for a strip of R rows; x stands at its first column.
  template <int R>
  [[gnu::noinline]] static void AddDecoded(const std::byte* decoded, int64_t n,
                                           const std::byte* scales, const float* x, float* sums) {
    constexpr int C = R <= 3 ? kPanelVectors : kPanelVectors / 2;
    for (int c = 0; c < kPanelVectors; c += C) {
      Tile<R, C> acc;
      Clear<R, C>(acc);
      Accumulate<F32Weights, R, C, 0>(decoded, c, x, n, acc);
      Flush<true, R, C>(acc, scales, c, sums);
    }
  }

  static void AddDecodedRows(int64_t rows, const std::byte* decoded, int64_t n,
                             const std::byte* scales, const float* x, float* sums) {
    switch (rows) {
      case 1:
        return AddDecoded<1>(decoded, n, scales, x, sums);
      case 2:
        return AddDecoded<2>(decoded, n, scales, x, sums);
      case 3:
        return AddDecoded<3>(decoded, n, scales, x, sums);
      case 4:
        return AddDecoded<4>(decoded, n, scales, x, sums);
      case 5:
        return AddDecoded<5>(decoded, n, scales, x, sums);
      default:
        return AddDecoded<6>(decoded, n, scales, x, sums);
    }
  }

  // Fetches what the strip after the one at `x` has of `n` columns: the hardware does not follow
  // from strip to strip.
  static void FetchStrip(const float* x, int64_t strip_bytes, int64_t n) {
    const auto* next = reinterpret_cast<const std::byte*>(x) + strip_bytes;
    for (int64_t at = 0; at < n * kStripRows * 4; at += 64) Prefetch<64>(next + at);
  }

  // The rows [m0, m1), at most kChunkStrips strips.
  static void Chunk(const PanelProduct& p, int64_t m0, int64_t m1) {
    std::byte* decoded = p.scratch;
    auto* sums = reinterpret_cast<float*>(p.scratch + kDecodeColumns * kWordBytes);
    std::memset(sums, 0, sizeof(float) * static_cast<size_t>(kChunkStrips * kStripSums));
    const int64_t strip_bytes = ScaledStripBytes(p.k);
    for (int64_t begin = 0; begin < p.k; begin += kDecodeColumns) {
      const int64_t end = p.k - begin < kDecodeColumns ? p.k : begin + kDecodeColumns;
      const std::byte* first = p.panel + kFlagBytes + begin / kGroupColumns * kGroupBytes;
      const std::byte* group = first;
      for (int64_t g = begin; g < end; g += kGroupColumns) {
        Decode(group + kScaleBytes, end - g < kGroupColumns ? end - g : kGroupColumns,
               decoded + (g - begin) * kWordBytes);
        group += kGroupBytes;
      }
      float* to = sums;
      for (int64_t m = m0; m < m1; m += kStripRows) {
        const int64_t rows = m1 - m < kStripRows ? m1 - m : kStripRows;
        const auto* x = reinterpret_cast<const float*>(p.x + m / kStripRows * strip_bytes);
        if (m + kStripRows < m1) FetchStrip(x + begin * rows, strip_bytes, end - begin);
        group = first;
        for (int64_t g = begin; g < end; g += kGroupColumns) {
          AddDecodedRows(rows, decoded + (g - begin) * kWordBytes,
                         end - g < kGroupColumns ? end - g : kGroupColumns, group, x + g * rows,
                         to);
          group += kGroupBytes;
        }
        to += kStripSums;
      }
    }
    for (int64_t m = m0; m < m1; m += kStripRows) {
      const int64_t rows = m1 - m < kStripRows ? m1 - m : kStripRows;
      const auto* x = reinterpret_cast<const float*>(p.x + m / kStripRows * strip_bytes);
      GiveBack(x + (p.k + 3) / 4 * 4 * rows, rows, rows, sums);
      StoreRows(p, m, rows, sums);
      sums += kStripSums;
    }
  }

  static void Run(const PanelProduct& p) {
    if (p.m <= kDirectRows && p.panel[0] == std::byte{0}) return RunDirect(p);
    constexpr int64_t kRows = kChunkStrips * kStripRows;
    for (int64_t m = 0; m < p.m; m += kRows) Chunk(p, m, p.m - m < kRows ? p.m : m + kRows);
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = ActivationLayout::kF32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = ScaledStripBytes,
            .pack_strip = PackScaledStrip,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
