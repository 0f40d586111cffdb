// The judge: a panel holds the stored rows as they are; `run` expands one row to float32 and adds
// its products with each activation row up in double, from the first column to the last.
#include <cstring>

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

constexpr int kPanelRows = 32;
constexpr int kStripRows = 16;

int64_t RoundUp64(int64_t bytes) { return (bytes + 63) / 64 * 64; }

int64_t FloatRowBytes(int64_t k) { return RoundUp64(k * static_cast<int64_t>(sizeof(float))); }

int64_t StripBytes(int64_t k) { return kStripRows * FloatRowBytes(k); }

void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
               std::byte* packed_x) {
  std::byte* strip = packed_x + m0 / kStripRows * StripBytes(k);
  for (int64_t m = m0; m < m1; ++m) {
    std::memcpy(strip + (m - m0) * FloatRowBytes(k), x + m * ldx,
                static_cast<size_t>(k) * sizeof(float));
  }
}

float Dot(const float* a, const float* b, int64_t n) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<double>(a[i]) * static_cast<double>(b[i]);
  return static_cast<float>(sum);
}

template <DType kType>
struct Ref {
  static int64_t PanelBytes(int64_t k) { return RoundUp64(kPanelRows * RowBytes(kType, k)); }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    std::memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    const int64_t row_bytes = RowBytes(kType, k);
    for (int i = 0; i < n_rows; ++i) {
      std::memcpy(panel + i * row_bytes, rows[i], static_cast<size_t>(row_bytes));
    }
  }

  static void Run(const PanelProduct& p) {
    float* row = reinterpret_cast<float*>(p.scratch);
    for (int n = 0; n < p.n_rows; ++n) {
      DequantizeRow(kType, p.panel + n * RowBytes(kType, p.k), p.k, row);
      for (int64_t m = 0; m < p.m; ++m) {
        const std::byte* x =
            p.x + m / kStripRows * StripBytes(p.k) + m % kStripRows * FloatRowBytes(p.k);
        p.y[m * p.ldy + n] = Dot(row, reinterpret_cast<const float*>(x), p.k);
      }
    }
  }

  static constexpr MatMulKernel Kernel() {
    return {.name = "ref",
            .weights = kType,
            .activations = ActivationLayout::kF32,
            .panel_rows = kPanelRows,
            .strip_rows = kStripRows,
            .panel_bytes = PanelBytes,
            .pack_panel = PackPanel,
            .strip_bytes = StripBytes,
            .pack_strip = PackStrip,
            .scratch_bytes = FloatRowBytes,
            .run = Run};
  }
};

constexpr MatMulKernel kKernels[] = {
    Ref<DType::kF64>::Kernel(),          Ref<DType::kF32>::Kernel(),
    Ref<DType::kF16>::Kernel(),          Ref<DType::kBF16>::Kernel(),
    Ref<DType::kF8E4M3>::Kernel(),       Ref<DType::kF8E5M2>::Kernel(),
    Ref<DType::kF8E8M0>::Kernel(),       Ref<DType::kF4E2M1>::Kernel(),
    Ref<DType::kQ8_0>::Kernel(),         Ref<DType::kQ4_0>::Kernel(),
    Ref<DType::kQ4_1>::Kernel(),         Ref<DType::kQ5_0>::Kernel(),
    Ref<DType::kQ5_1>::Kernel(),         Ref<DType::kQ2_K>::Kernel(),
    Ref<DType::kQ3_K>::Kernel(),         Ref<DType::kQ4_K>::Kernel(),
    Ref<DType::kQ5_K>::Kernel(),         Ref<DType::kQ6_K>::Kernel(),
    Ref<DType::kMXFP4>::Kernel(),        Ref<DType::kF8Group128>::Kernel(),
    Ref<DType::kF8Group32>::Kernel(),    Ref<DType::kI8Group128>::Kernel(),
    Ref<DType::kI8Group32>::Kernel(),    Ref<DType::kI4Group128>::Kernel(),
    Ref<DType::kI4Group32>::Kernel(),    Ref<DType::kI4MinGroup128>::Kernel(),
    Ref<DType::kI4MinGroup32>::Kernel(),
};

}  // namespace

const MatMulList kMatMulRef = {kKernels, static_cast<int>(sizeof(kKernels) / sizeof(kKernels[0]))};

}  // namespace inhouse::engine
