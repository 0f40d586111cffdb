// Stored types without a kernel of their own at the AVX2 level: a panel keeps the rows as they are;
// `run` expands it to floats, once for all activation rows, and multiplies these. For avx2.cc only.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/matmul/avx2_float.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {
namespace {

// Stores the transpose of from[8][ldfrom] to to[8][kPanelRows].
void Transpose8x8(const float* from, int64_t ldfrom, float* to) {
  __m256 a[8];
  __m256 b[8];
  for (int i = 0; i < 8; ++i) a[i] = _mm256_loadu_ps(from + i * ldfrom);
  for (int i = 0; i < 8; i += 2) {
    b[i] = _mm256_unpacklo_ps(a[i], a[i + 1]);
    b[i + 1] = _mm256_unpackhi_ps(a[i], a[i + 1]);
  }
  for (int i = 0; i < 8; i += 4) {
    a[i] = _mm256_shuffle_ps(b[i], b[i + 2], 0x44);
    a[i + 1] = _mm256_shuffle_ps(b[i], b[i + 2], 0xEE);
    a[i + 2] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0x44);
    a[i + 3] = _mm256_shuffle_ps(b[i + 1], b[i + 3], 0xEE);
  }
  for (int i = 0; i < 4; ++i) {
    _mm256_store_ps(to + i * kPanelRows, _mm256_permute2f128_ps(a[i], a[i + 4], 0x20));
    _mm256_store_ps(to + (i + 4) * kPanelRows, _mm256_permute2f128_ps(a[i], a[i + 4], 0x31));
  }
}

template <DType kType, int64_t kBlockElements, int64_t kBlockBytes>
struct ExpandKernel {
  // Columns that are expanded at a time, a multiple of every block.
  static constexpr int64_t kColumns = 256;

  static int64_t RowBytesOf(int64_t k) { return k / kBlockElements * kBlockBytes; }
  static int64_t PanelBytes(int64_t k) { return (kPanelRows * RowBytesOf(k) + 63) / 64 * 64; }
  static int64_t ExpandedBytes(int64_t k) { return (k + 7) / 8 * 8 * F32Weights::kStepBytes; }
  static int64_t ScratchBytes(int64_t k) {
    return ExpandedBytes(k) + FloatKernel<F32Weights>::ScratchBytes(k);
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int i = 0; i < n_rows; ++i) {
      std::memcpy(panel + i * RowBytesOf(k), rows[i], static_cast<size_t>(RowBytesOf(k)));
    }
  }

  // Expands the columns [begin, begin + n) of all rows to floats [n][32], n padded to 8.
  static void ExpandColumns(const PanelProduct& p, int64_t begin, int64_t n) {
    alignas(32) float rows[8 * kColumns];
    auto* to = reinterpret_cast<float*>(p.scratch) + begin * kPanelRows;
    std::memset(rows, 0, sizeof(rows));
    for (int i0 = 0; i0 < kPanelRows; i0 += 8) {
      for (int i = 0; i < 8 && i0 + i < p.n_rows; ++i) {
        const std::byte* row = p.panel + (i0 + i) * RowBytesOf(p.k) + RowBytesOf(begin);
        DequantizeRow(kType, row, n, rows + i * kColumns);
      }
      for (int64_t j = 0; j < n; j += 8) {
        Transpose8x8(rows + j, kColumns, to + j * kPanelRows + i0);
      }
    }
  }

  static void Run(const PanelProduct& p) {
    for (int64_t begin = 0; begin < p.k; begin += kColumns) {
      ExpandColumns(p, begin, p.k - begin < kColumns ? p.k - begin : kColumns);
    }
    FloatKernel<F32Weights>::RunPanel(p, p.scratch, p.scratch + ExpandedBytes(p.k));
  }

  static constexpr MatMulKernel Table() {
    return {.name = "avx2_expand",
            .weights = kType,
            .activations = ActivationLayout::kF32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = FloatStripBytes,
            .pack_strip = PackFloatStrip,
            .scratch_bytes = ScratchBytes,
            .run = Run};
  }
};

}  // namespace
}  // namespace inhouse::engine::avx2
