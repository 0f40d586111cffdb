// Integer codes with VPDPBUSD and two int8 planes of 16-bit activations: exact sums per group.
#include "engine/kernels/matmul/avx512_formats.h"
#include "engine/kernels/matmul/avx512_formats_k.h"
#include "engine/kernels/matmul/avx512_formats_scaled.h"
#include "engine/kernels/matmul/avx512_group_product.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

constexpr MatMulKernel kKernels[] = {
    GroupKernel<FormatQ8_0, 2>("avx512vnni_q8_0", DType::kQ8_0),
    GroupKernel<FormatQ4_0, 2>("avx512vnni_q4_0", DType::kQ4_0),
    GroupKernel<FormatQ4_1, 2>("avx512vnni_q4_1", DType::kQ4_1),
    GroupKernel<FormatQ5_0, 2>("avx512vnni_q5_0", DType::kQ5_0),
    GroupKernel<FormatQ5_1, 2>("avx512vnni_q5_1", DType::kQ5_1),
    GroupKernel<FormatQ2_K, 2>("avx512vnni_q2_k", DType::kQ2_K),
    GroupKernel<FormatQ3_K, 2>("avx512vnni_q3_k", DType::kQ3_K),
    GroupKernel<FormatQ4_K, 2>("avx512vnni_q4_k", DType::kQ4_K),
    GroupKernel<FormatQ5_K, 2>("avx512vnni_q5_k", DType::kQ5_K),
    GroupKernel<FormatQ6_K, 2>("avx512vnni_q6_k", DType::kQ6_K),
    GroupKernel<FormatMXFP4, 2>("avx512vnni_mxfp4", DType::kMXFP4),
    GroupKernel<FormatI8<4>, 2>("avx512vnni_i8_g128", DType::kI8Group128),
    GroupKernel<FormatI8<1>, 2>("avx512vnni_i8_g32", DType::kI8Group32),
    GroupKernel<FormatI4<4, false>, 2>("avx512vnni_i4_g128", DType::kI4Group128),
    GroupKernel<FormatI4<1, false>, 2>("avx512vnni_i4_g32", DType::kI4Group32),
    GroupKernel<FormatI4<4, true>, 2>("avx512vnni_i4m_g128", DType::kI4MinGroup128),
    GroupKernel<FormatI4<1, true>, 2>("avx512vnni_i4m_g32", DType::kI4MinGroup32),
};

}  // namespace

const MatMulList kMatMulAvx512Vnni = {kKernels, sizeof(kKernels) / sizeof(kKernels[0])};

}  // namespace inhouse::engine
