// The AVX2 + FMA + F16C level. Every floating and block type: float weights by FMA, GGUF blocks in
// integers, what is left expanded to floats.
#include <immintrin.h>

#include "engine/kernels/matmul/avx2_expand.h"
#include "engine/kernels/matmul/avx2_float.h"
#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_formats_k.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

// VPMADDUBSW would take twice the weights, but its 16-bit sums have no room for 16-bit activations.
struct Madd {
  // acc += the products of pairs of 16-bit numbers.
  [[gnu::always_inline]] static void Add(__m256i weights, __m256i x, __m256i& acc) {
    const __m256i products = _mm256_madd_epi16(weights, x);
    // With the intrinsic GCC 12 moves the accumulators of a tile about, and spills them.
    asm("vpaddd %1, %0, %0" : "+x"(acc) : "x"(products));
  }
};

template <typename Stored>
using Plain = GroupKernel<PlainFormat<Madd, Stored>>;

constexpr MatMulKernel kKernels[] = {
    FloatKernel<F32Weights>::Table("avx2_f32", DType::kF32),
    FloatKernel<F16Weights>::Table("avx2_f16", DType::kF16),
    FloatKernel<BF16Weights>::Table("avx2_bf16", DType::kBF16),
    Plain<StoredQ8_0>::Table("avx2_q8_0", DType::kQ8_0),
    Plain<StoredQ4_0>::Table("avx2_q4_0", DType::kQ4_0),
    Plain<StoredQ4_1>::Table("avx2_q4_1", DType::kQ4_1),
    Plain<StoredQ5_0>::Table("avx2_q5_0", DType::kQ5_0),
    Plain<StoredQ5_1>::Table("avx2_q5_1", DType::kQ5_1),
    GroupKernel<MXFP4<Madd>>::Table("avx2_mxfp4", DType::kMXFP4),
    GroupKernel<Q2_K<Madd>>::Table("avx2_q2_k", DType::kQ2_K),
    GroupKernel<HalfGroupFormat<Madd, StoredQ3_K>>::Table("avx2_q3_k", DType::kQ3_K),
    GroupKernel<ScaleMinFormat<Madd, 4>>::Table("avx2_q4_k", DType::kQ4_K),
    GroupKernel<ScaleMinFormat<Madd, 5>>::Table("avx2_q5_k", DType::kQ5_K),
    GroupKernel<HalfGroupFormat<Madd, StoredQ6_K>>::Table("avx2_q6_k", DType::kQ6_K),
    ExpandKernel<DType::kF64, 1, 8>::Table(),
    ExpandKernel<DType::kF8E4M3, 1, 1>::Table(),
    ExpandKernel<DType::kF8E5M2, 1, 1>::Table(),
    ExpandKernel<DType::kF8E8M0, 1, 1>::Table(),
    ExpandKernel<DType::kF4E2M1, 2, 1>::Table(),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvx2 = {avx2::kKernels,
                                static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
