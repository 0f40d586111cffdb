// The AVX2 + FMA + F16C level. Every floating and block type: float weights by FMA, integer codes
// in integers, what is left expanded to floats.
#include <immintrin.h>

#include <type_traits>

#include "engine/kernels/matmul/avx2_expand.h"
#include "engine/kernels/matmul/avx2_float.h"
#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_formats_k.h"
#include "engine/kernels/matmul/avx2_fp8.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

template <typename F>
using Bits16Planes =
    std::conditional_t<F::kHalves == 1,
                       DirectKernel<Chains<2>, F, F::kGroupRecords == 1 ? kPlanes32 : kPlanes128>,
                       GroupKernel<Chains<2>, F, kPlanes32>>;
template <typename F>
using Bits16Words =
    GroupKernel<Words<true>, F, F::kGroupRecords == 1 ? kPlanesOrWords32 : kPlanesOrWords128,
                UnpackedWords<F>>;
template <typename F>
using Bits16 = PlanesOrWords<Bits16Planes<F>, Bits16Words<F>, F,
                             F::kGroupRecords == 1 ? kPlanesOrWords32 : kPlanesOrWords128>;
template <typename F>
using Bits8 = GroupKernel<Chains<1>, F, F::kGroupRecords == 1 ? kBytes32 : kBytes128>;
template <typename NumberHeader, int kRecords>
using SignedBytes = GroupKernel<Words<false>, SignedByteFormat<NumberHeader, kRecords>,
                                kRecords == 1 ? kWords32 : kWords128,
                                UnpackedWords<SignedByteFormat<NumberHeader, kRecords>>>;

constexpr MatMulKernel kKernels[] = {
    FloatKernel<F32Weights>::Table("avx2_f32", DType::kF32),
    FloatKernel<F16Weights>::Table("avx2_f16", DType::kF16),
    FloatKernel<BF16Weights>::Table("avx2_bf16", DType::kBF16),
    Fp8Kernel<128, false>::Table("avx2_e4m3", DType::kF8E4M3),
    Fp8Kernel<128, true>::Table("avx2_f8g128", DType::kF8Group128),
    Fp8Kernel<32, true>::Table("avx2_f8g32", DType::kF8Group32),
    // Codes of eight bits gain nothing from activations of eight: avx2_dots.h.
    SignedBytes<Header<2, false>, 1>::Table("avx2_q8_0", DType::kQ8_0),
    SignedBytes<Header<4, false>, 4>::Table("avx2_i8g128", DType::kI8Group128),
    SignedBytes<Header<4, false>, 1>::Table("avx2_i8g32", DType::kI8Group32),
    Bits16<I4<4>>::Table("avx2_i4g128", DType::kI4Group128),
    Bits16<I4<1>>::Table("avx2_i4g32", DType::kI4Group32),
    Bits16<I4Min<4>>::Table("avx2_i4mg128", DType::kI4MinGroup128),
    Bits16<I4Min<1>>::Table("avx2_i4mg32", DType::kI4MinGroup32),
    Bits16<Q4_0>::Table("avx2_q4_0", DType::kQ4_0),
    Bits16<Q4_1>::Table("avx2_q4_1", DType::kQ4_1),
    Bits16<Q5_0>::Table("avx2_q5_0", DType::kQ5_0),
    Bits16<Q5_1>::Table("avx2_q5_1", DType::kQ5_1),
    Bits16<MXFP4>::Table("avx2_mxfp4", DType::kMXFP4),
    Bits16<Q2_K>::Table("avx2_q2_k", DType::kQ2_K),
    Bits16<Q3_K>::Table("avx2_q3_k", DType::kQ3_K),
    Bits16<ScaleMinFormat<4>>::Table("avx2_q4_k", DType::kQ4_K),
    Bits16<ScaleMinFormat<5>>::Table("avx2_q5_k", DType::kQ5_K),
    Bits16<Q6_K>::Table("avx2_q6_k", DType::kQ6_K),
    Bits8<I4<4>>::Table("avx2_i4g128_8", DType::kI4Group128),
    Bits8<I4<1>>::Table("avx2_i4g32_8", DType::kI4Group32),
    Bits8<I4Min<4>>::Table("avx2_i4mg128_8", DType::kI4MinGroup128),
    Bits8<I4Min<1>>::Table("avx2_i4mg32_8", DType::kI4MinGroup32),
    Bits8<Q4_0>::Table("avx2_q4_0_8", DType::kQ4_0),
    Bits8<Q4_1>::Table("avx2_q4_1_8", DType::kQ4_1),
    Bits8<Q5_0>::Table("avx2_q5_0_8", DType::kQ5_0),
    Bits8<Q5_1>::Table("avx2_q5_1_8", DType::kQ5_1),
    Bits8<MXFP4>::Table("avx2_mxfp4_8", DType::kMXFP4),
    Bits8<Q2_K>::Table("avx2_q2_k_8", DType::kQ2_K),
    Bits8<Q3_K>::Table("avx2_q3_k_8", DType::kQ3_K),
    Bits8<ScaleMinFormat<4>>::Table("avx2_q4_k_8", DType::kQ4_K),
    Bits8<ScaleMinFormat<5>>::Table("avx2_q5_k_8", DType::kQ5_K),
    Bits8<Q6_K>::Table("avx2_q6_k_8", DType::kQ6_K),
    ExpandKernel<DType::kF64, 1, 8>::Table(),
    ExpandKernel<DType::kF8E5M2, 1, 1>::Table(),
    ExpandKernel<DType::kF8E8M0, 1, 1>::Table(),
    ExpandKernel<DType::kF4E2M1, 2, 1>::Table(),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvx2 = {avx2::kKernels,
                                static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
