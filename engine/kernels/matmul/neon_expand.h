// Stored types without a format of their own at the NEON levels: a panel keeps the rows as they
// are; `run` expands a chunk of columns to floats for all activation rows. For neon.cc only.
#pragma once

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/matmul/neon_float.h"

namespace inhouse::engine::neon {
namespace {

template <DType kType, int64_t kBlockElements, int64_t kBlockBytes>
struct ExpandKernel {
  static constexpr int64_t kColumns = 256;  // expanded at a time, a multiple of every block

  static int64_t RowBytesOf(int64_t k) { return k / kBlockElements * kBlockBytes; }
  static int64_t PanelBytes(int64_t k) { return RoundUp(kPanelRows * RowBytesOf(k), 64); }
  static int64_t ScratchBytes(int64_t /*k*/) { return kColumns / 8 * kExpandedOctetBytes; }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    for (int i = 0; i < n_rows; ++i) {
      std::memcpy(panel + i * RowBytesOf(k), rows[i], static_cast<size_t>(RowBytesOf(k)));
    }
  }

  static void Run(const PanelProduct& p) {
    auto* expanded = reinterpret_cast<float*>(p.scratch);
    for (int64_t begin = 0; begin < p.k; begin += kColumns) {
      const int64_t n = p.k - begin < kColumns ? p.k - begin : kColumns;
      std::memset(expanded, 0, static_cast<size_t>(ScratchBytes(p.k)));
      for (int i = 0; i < p.n_rows; ++i) {
        float row[kColumns];
        DequantizeRow(kType, p.panel + i * RowBytesOf(p.k) + RowBytesOf(begin), n, row);
        for (int64_t j = 0; j < n; ++j) expanded[j * kPanelRows + i] = row[j];
      }
      RunFloatStrips<ExpandedWeights>(p, p.scratch, begin / 8, DivideUp(n, 8));
    }
  }

  static constexpr MatMulKernel Table() {
    return {.name = "neon_expand",
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
}  // namespace inhouse::engine::neon
