#include "engine/kernels/attention/attention_kernels.h"
#include "engine/kernels/attention/fast.h"
#include "engine/kernels/elementwise/vector_avx512.h"

namespace inhouse::engine {

const AttentionKernel kAttentionF32Avx512 = FastAttention<Avx512, float, DType::kF32>::kTable;
const AttentionKernel kAttentionF16Avx512 = FastAttention<Avx512, uint16_t, DType::kF16>::kTable;
const AttentionKernel kAttentionBf16Avx512 = FastAttention<Avx512, Bf16, DType::kBF16>::kTable;
const AttentionKernel kAttentionE4M3Avx512 = FastAttention<Avx512, E4M3, DType::kF8E4M3>::kTable;

}  // namespace inhouse::engine
