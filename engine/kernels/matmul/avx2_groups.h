// GGUF block formats with 16-bit activations in groups of 32 columns: the loops that the AVX2 and
// AVX-VNNI levels share. Only for their translation units.
//
// The products of a group are summed exactly in 32-bit integers (32 * 128 * 32512 < 2^31); then
// sum * x_scale * w_scale is added to the output's one float chain. Exact sums have no order, so
// tiles of any shape, and both levels, give the same bits.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_strips.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

constexpr int kPanelVectors = kPanelRows / 8;

template <int R, int C>
using IntTile = __m256i[static_cast<size_t>(R)][static_cast<size_t>(C)];
template <int R, int C>
using FloatTile = __m256[static_cast<size_t>(R)][static_cast<size_t>(C)];
template <int N>
using IntRow = __m256i[static_cast<size_t>(N)];
template <int N>
using FloatRow = __m256[static_cast<size_t>(N)];

inline __m256i LoadBytes(const std::byte* p) {
  return _mm256_load_si256(reinterpret_cast<const __m256i*>(p));
}
// A pair of 16-bit codes of x in every lane.
inline __m256i Broadcast(const std::byte* p) {
  int32_t word;
  __builtin_memcpy(&word, p, 4);
  return _mm256_set1_epi32(word);
}
inline __m256 BroadcastFloat(const std::byte* p) {
  return _mm256_broadcast_ss(reinterpret_cast<const float*>(p));
}
// Eight F16 scales.
inline __m256 LoadHalfs(const std::byte* p) {
  return _mm256_cvtph_ps(_mm_load_si128(reinterpret_cast<const __m128i*>(p)));
}
// Eight unsigned or signed bytes as floats.
inline __m256 LoadU8(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepu8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}
inline __m256 LoadS8(const std::byte* p) {
  return _mm256_cvtepi32_ps(
      _mm256_cvtepi8_epi32(_mm_loadl_epi64(reinterpret_cast<const __m128i*>(p))));
}

// Fetches the weights of one pair of columns for C vectors, b[c] = load(c), and gives every
// (row, vector) pair to add(r, c, x[r], b[c]), in the order that needs fewer registers.
template <int R, int C, typename Load, typename Add>
[[gnu::always_inline]] inline void ForEachPair(const std::byte* x, Load load, Add add) {
  if constexpr (R < C) {
    IntRow<R> a;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) a[r] = Broadcast(x + 4 * r);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m256i b = load(c);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) add(r, c, a[r], b);
    }
  } else {
    IntRow<C> b;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) b[c] = load(c);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const __m256i a = Broadcast(x + 4 * r);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) add(r, c, a, b[c]);
    }
  }
}

// sums[r][c] += x_scale[r] * sum[r][c] * d[c]; `x` is the group of a strip, `sums` stands at the
// tile's first vector.
template <int R, int C>
[[gnu::always_inline]] inline void AddFloats(const FloatTile<R, C>& sum, const FloatRow<C>& d,
                                             const std::byte* x, float* sums) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m256 scale = BroadcastFloat(x + GroupOffsets::kScale * R + 4 * r);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      float* to = sums + r * kPanelRows + 8 * c;
      const __m256 product = _mm256_mul_ps(sum[r][c], scale);
      _mm256_store_ps(to, _mm256_fmadd_ps(product, d[c], _mm256_load_ps(to)));
    }
  }
}

template <int R, int C>
[[gnu::always_inline]] inline void AddScaled(const IntTile<R, C>& sum, const FloatRow<C>& d,
                                             const std::byte* x, float* sums) {
  FloatTile<R, C> floats;
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) floats[r][c] = _mm256_cvtepi32_ps(sum[r][c]);
  }
  AddFloats<R, C>(floats, d, x, sums);
}

// AddScaled plus x_scale[r] * sum of x codes * m[c], for weights d q + m.
template <int R, int C>
[[gnu::always_inline]] inline void AddScaledAndMin(const IntTile<R, C>& sum, const FloatRow<C>& d,
                                                   const FloatRow<C>& m, const std::byte* x,
                                                   float* sums) {
#pragma GCC unroll 8
  for (int r = 0; r < R; ++r) {
    const __m256 scale = BroadcastFloat(x + GroupOffsets::kScale * R + 4 * r);
    const __m256 scaled_sum = BroadcastFloat(x + GroupOffsets::kScaledSum * R + 4 * r);
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      float* to = sums + r * kPanelRows + 8 * c;
      const __m256 product = _mm256_mul_ps(_mm256_cvtepi32_ps(sum[r][c]), scale);
      const __m256 base = _mm256_fmadd_ps(scaled_sum, m[c], _mm256_load_ps(to));
      _mm256_store_ps(to, _mm256_fmadd_ps(product, d[c], base));
    }
  }
}

// Vectors of a tile with R rows: with accumulators for each, the sixteen registers suffice.
constexpr int TileColumns(int rows) { return rows <= 2 ? 4 : 2; }

// All groups of one strip. `F` is a format: AddGroup<R, C>(block, g, c0, x, sums).
template <typename F, int R>
[[gnu::noinline]] void RunGroups(const std::byte* panel, const std::byte* x, int64_t blocks,
                                 float* sums) {
  constexpr int C = F::Columns(R);
  std::memset(sums, 0, sizeof(float) * R * kPanelRows);
  for (int64_t block = 0; block < blocks; ++block) {
    for (int g = 0; g < F::kBlockGroups; ++g) {
      constexpr int64_t kBytes = F::kBlockBytes / F::kBlockGroups;
      const std::byte* ahead = panel + g * kBytes + kPrefetchBytes;
#pragma GCC unroll 32
      for (int64_t line = 0; line < kBytes; line += 64) {
        _mm_prefetch(reinterpret_cast<const char*>(ahead + line), _MM_HINT_T0);
      }
      for (int c = 0; c < kPanelVectors; c += C) {
        F::template AddGroup<R, C>(panel, g, c, x, sums + 8 * c);
      }
      x += GroupOffsets::kBytes * R;
    }
    panel += F::kBlockBytes;
  }
}

template <typename F>
void RunGroupRows(int64_t rows, const std::byte* panel, const std::byte* x, int64_t blocks,
                  float* sums) {
  switch (rows) {
    case 1:
      return RunGroups<F, 1>(panel, x, blocks, sums);
    case 2:
      return RunGroups<F, 2>(panel, x, blocks, sums);
    case 3:
      return RunGroups<F, 3>(panel, x, blocks, sums);
    case 4:
      return RunGroups<F, 4>(panel, x, blocks, sums);
    case 5:
      return RunGroups<F, 5>(panel, x, blocks, sums);
    default:
      return RunGroups<F, 6>(panel, x, blocks, sums);
  }
}

inline int64_t NoGroupScratch(int64_t /*k*/) { return 0; }

template <typename F>
struct GroupKernel {
  static int64_t Blocks(int64_t k) { return k / (kGroup * F::kBlockGroups); }
  static int64_t PanelBytes(int64_t k) { return Blocks(k) * F::kBlockBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int64_t block = 0; block < Blocks(k); ++block) {
      for (int i = 0; i < n_rows; ++i) {
        F::Pack(rows[i] + block * F::kStoredBytes, i, panel + block * F::kBlockBytes);
      }
    }
  }

  static void Run(const PanelProduct& p) {
    alignas(64) float sums[size_t{kStripRows} * kPanelRows];
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      const std::byte* x = p.x + m0 / kStripRows * GroupStripBytes(p.k);
      RunGroupRows<F>(rows, p.panel, x, Blocks(p.k), sums);
      for (int64_t r = 0; r < rows; ++r) {
        std::memcpy(p.y + (m0 + r) * p.ldy, sums + r * kPanelRows,
                    static_cast<size_t>(p.n_rows) * sizeof(float));
      }
    }
  }

  static constexpr MatMulKernel Table(const char* name, DType type) {
    return {.name = name,
            .weights = type,
            .activations = ActivationLayout::kI16Groups32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = GroupStripBytes,
            .pack_strip = PackGroupStrip,
            .scratch_bytes = NoGroupScratch,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
