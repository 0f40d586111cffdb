// Integer codes with VPDPBUSD and 8-bit activations: exact sums per group.
#include "engine/kernels/matmul/avx512_formats.h"
#include "engine/kernels/matmul/avx512_formats_k.h"
#include "engine/kernels/matmul/avx512_formats_scaled.h"
#include "engine/kernels/matmul/avx512_group_product.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

constexpr MatMulKernel kKernels[] = {
    GroupKernel<FormatQ8_0, 1>("avx512vnni_q8_0_a8", DType::kQ8_0),
    GroupKernel<FormatQ4_0, 1>("avx512vnni_q4_0_a8", DType::kQ4_0),
    GroupKernel<FormatQ4_1, 1>("avx512vnni_q4_1_a8", DType::kQ4_1),
    GroupKernel<FormatQ5_0, 1>("avx512vnni_q5_0_a8", DType::kQ5_0),
    GroupKernel<FormatQ5_1, 1>("avx512vnni_q5_1_a8", DType::kQ5_1),
    GroupKernel<FormatQ2_K, 1>("avx512vnni_q2_k_a8", DType::kQ2_K),
    GroupKernel<FormatQ3_K, 1>("avx512vnni_q3_k_a8", DType::kQ3_K),
    GroupKernel<FormatQ4_K, 1>("avx512vnni_q4_k_a8", DType::kQ4_K),
    GroupKernel<FormatQ5_K, 1>("avx512vnni_q5_k_a8", DType::kQ5_K),
    GroupKernel<FormatQ6_K, 1>("avx512vnni_q6_k_a8", DType::kQ6_K),
    GroupKernel<FormatMXFP4, 1>("avx512vnni_mxfp4_a8", DType::kMXFP4),
    GroupKernel<FormatI8<4>, 1>("avx512vnni_i8_g128_a8", DType::kI8Group128),
    GroupKernel<FormatI8<1>, 1>("avx512vnni_i8_g32_a8", DType::kI8Group32),
    GroupKernel<FormatI4<4, false>, 1>("avx512vnni_i4_g128_a8", DType::kI4Group128),
    GroupKernel<FormatI4<1, false>, 1>("avx512vnni_i4_g32_a8", DType::kI4Group32),
    GroupKernel<FormatI4<4, true>, 1>("avx512vnni_i4m_g128_a8", DType::kI4MinGroup128),
    GroupKernel<FormatI4<1, true>, 1>("avx512vnni_i4m_g32_a8", DType::kI4MinGroup32),
};

}  // namespace

const MatMulList kMatMulAvx512Vnni8Bit = {kKernels, sizeof(kKernels) / sizeof(kKernels[0])};

}  // namespace inhouse::engine
