// The AVX-VNNI level (VEX-encoded, client CPUs without AVX-512): the block formats with multiply
// and add in one instruction. The same exact sums as AVX2, so the same bits; float weights stay
// there.
#include <immintrin.h>

#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_formats_k.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

struct Vnni {
  // acc += the products of pairs of 16-bit numbers. GCC 12's intrinsic copies the accumulator each
  // time.
  [[gnu::always_inline]] static void Add(__m256i weights, __m256i x, __m256i& acc) {
    asm("%{vex%} vpdpwssd %2, %1, %0" : "+x"(acc) : "x"(weights), "x"(x));
  }
};

template <typename Stored>
using Plain = GroupKernel<PlainFormat<Vnni, Stored>>;

constexpr MatMulKernel kKernels[] = {
    Plain<StoredQ8_0>::Table("avxvnni_q8_0", DType::kQ8_0),
    Plain<StoredQ4_0>::Table("avxvnni_q4_0", DType::kQ4_0),
    Plain<StoredQ4_1>::Table("avxvnni_q4_1", DType::kQ4_1),
    Plain<StoredQ5_0>::Table("avxvnni_q5_0", DType::kQ5_0),
    Plain<StoredQ5_1>::Table("avxvnni_q5_1", DType::kQ5_1),
    GroupKernel<MXFP4<Vnni>>::Table("avxvnni_mxfp4", DType::kMXFP4),
    GroupKernel<Q2_K<Vnni>>::Table("avxvnni_q2_k", DType::kQ2_K),
    GroupKernel<HalfGroupFormat<Vnni, StoredQ3_K>>::Table("avxvnni_q3_k", DType::kQ3_K),
    GroupKernel<ScaleMinFormat<Vnni, 4>>::Table("avxvnni_q4_k", DType::kQ4_K),
    GroupKernel<ScaleMinFormat<Vnni, 5>>::Table("avxvnni_q5_k", DType::kQ5_K),
    GroupKernel<HalfGroupFormat<Vnni, StoredQ6_K>>::Table("avxvnni_q6_k", DType::kQ6_K),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvxVnni = {avx2::kKernels,
                                   static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
