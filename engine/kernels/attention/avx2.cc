#include "engine/kernels/attention/attention_kernels.h"
#include "engine/kernels/attention/fast.h"
#include "engine/kernels/elementwise/vector_avx2.h"

namespace inhouse::engine {

const AttentionKernel kAttentionF32Avx2 = FastAttention<Avx2, float, DType::kF32>::kTable;
const AttentionKernel kAttentionF16Avx2 = FastAttention<Avx2, uint16_t, DType::kF16>::kTable;
const AttentionKernel kAttentionBf16Avx2 = FastAttention<Avx2, Bf16, DType::kBF16>::kTable;
const AttentionKernel kAttentionE4M3Avx2 = FastAttention<Avx2, E4M3, DType::kF8E4M3>::kTable;

}  // namespace inhouse::engine
