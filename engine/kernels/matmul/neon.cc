// Advanced SIMD of ARMv8.0, without dot products: every type in floats, with exact weights and
// exact activations. Integer chains (SMLAL) would take as many instructions per product.
#include "engine/kernels/matmul/matmul_kernels.h"
#include "engine/kernels/matmul/neon_expand.h"
#include "engine/kernels/matmul/neon_float.h"
#include "engine/kernels/matmul/neon_formats.h"
#include "engine/kernels/matmul/neon_formats_k.h"

namespace inhouse::engine {
namespace neon {
namespace {

template <typename Column>
using Plain = FloatKernel<PlainWeights<Column>>;
template <int kColumns>
using Fp8Group = FloatKernel<Fp8GroupWeights<kColumns>>;
template <typename Stored>
using Codes = FloatKernel<CodeWeights<PlainFormat<FloatOrder, Stored>>>;

constexpr MatMulKernel kKernels[] = {
    Plain<ColumnF32>::Table("neon_f32", DType::kF32),
    Plain<ColumnF16>::Table("neon_f16", DType::kF16),
    Plain<ColumnBF16>::Table("neon_bf16_shift", DType::kBF16),
    Plain<ColumnE4M3>::Table("neon_e4m3", DType::kF8E4M3),
    Plain<ColumnE5M2>::Table("neon_e5m2", DType::kF8E5M2),
    Fp8Group<128>::Table("neon_f8_g128", DType::kF8Group128),
    Fp8Group<32>::Table("neon_f8_g32", DType::kF8Group32),
    Codes<StoredQ8_0>::Table("neon_q8_0", DType::kQ8_0),
    Codes<StoredQ4_0>::Table("neon_q4_0", DType::kQ4_0),
    Codes<StoredQ4_1>::Table("neon_q4_1", DType::kQ4_1),
    Codes<StoredQ5_0>::Table("neon_q5_0", DType::kQ5_0),
    Codes<StoredQ5_1>::Table("neon_q5_1", DType::kQ5_1),
    Codes<StoredMXFP4>::Table("neon_mxfp4", DType::kMXFP4),
    Codes<StoredI8<128>>::Table("neon_i8_g128", DType::kI8Group128),
    Codes<StoredI8<32>>::Table("neon_i8_g32", DType::kI8Group32),
    Codes<StoredI4<128>>::Table("neon_i4_g128", DType::kI4Group128),
    Codes<StoredI4<32>>::Table("neon_i4_g32", DType::kI4Group32),
    Codes<StoredI4Min<128>>::Table("neon_i4m_g128", DType::kI4MinGroup128),
    Codes<StoredI4Min<32>>::Table("neon_i4m_g32", DType::kI4MinGroup32),
    FloatKernel<CodeWeights<ScaleMinFormat<FloatOrder, 4>>>::Table("neon_q4_k", DType::kQ4_K),
    FloatKernel<CodeWeights<ScaleMinFormat<FloatOrder, 5>>>::Table("neon_q5_k", DType::kQ5_K),
    FloatKernel<CodeWeights<Q6_K<FloatOrder>>>::Table("neon_q6_k", DType::kQ6_K),
    ExpandKernel<DType::kF64, 1, 8>::Table(),
    ExpandKernel<DType::kF8E8M0, 1, 1>::Table(),
    ExpandKernel<DType::kF4E2M1, 2, 1>::Table(),
    ExpandKernel<DType::kQ2_K, 256, 84>::Table(),
    ExpandKernel<DType::kQ3_K, 256, 110>::Table(),
};

}  // namespace
}  // namespace neon

const MatMulList kMatMulNeon = {neon::kKernels,
                                static_cast<int>(sizeof(neon::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
