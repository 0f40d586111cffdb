// GGUF blocks and MXFP4 with VPDPBUSD: 16-bit activations as two int8 planes, exact sums per group.
#include "engine/kernels/matmul/avx512_formats.h"
#include "engine/kernels/matmul/avx512_formats_k.h"
#include "engine/kernels/matmul/avx512_group_product.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

// All formats share one layout of x, and this function says so.
void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
               std::byte* packed_x) {
  GroupProduct<FormatQ8_0>::PackStrip(x, ldx, m0, m1, k, packed_x);
}

template <typename Format>
constexpr MatMulKernel Kernel(const char* name, DType weights) {
  using Product = GroupProduct<Format>;
  return {.name = name,
          .weights = weights,
          .activations = ActivationLayout::kI16Groups32,
          .panel_rows = kPanelRows,
          .strip_rows = kStripRows,
          .panel_bytes = Product::PanelBytes,
          .pack_panel = Product::PackPanel,
          .strip_bytes = Product::StripBytes,
          .pack_strip = PackStrip,
          .scratch_bytes = Product::ScratchBytes,
          .run = Product::Run};
}

constexpr MatMulKernel kKernels[] = {
    Kernel<FormatQ8_0>("avx512vnni_q8_0", DType::kQ8_0),
    Kernel<FormatQ4_0>("avx512vnni_q4_0", DType::kQ4_0),
    Kernel<FormatQ4_1>("avx512vnni_q4_1", DType::kQ4_1),
    Kernel<FormatQ5_0>("avx512vnni_q5_0", DType::kQ5_0),
    Kernel<FormatQ5_1>("avx512vnni_q5_1", DType::kQ5_1),
    Kernel<FormatQ2_K>("avx512vnni_q2_k", DType::kQ2_K),
    Kernel<FormatQ3_K>("avx512vnni_q3_k", DType::kQ3_K),
    Kernel<FormatQ4_K>("avx512vnni_q4_k", DType::kQ4_K),
    Kernel<FormatQ5_K>("avx512vnni_q5_k", DType::kQ5_K),
    Kernel<FormatQ6_K>("avx512vnni_q6_k", DType::kQ6_K),
    Kernel<FormatMXFP4>("avx512vnni_mxfp4", DType::kMXFP4),
};

}  // namespace

const MatMulList kMatMulAvx512Vnni = {kKernels, sizeof(kKernels) / sizeof(kKernels[0])};

}  // namespace inhouse::engine
