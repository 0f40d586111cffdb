#include "engine/kernels/attention/attention_kernels.h"
#include "engine/kernels/attention/fast.h"
#include "engine/kernels/elementwise/vector_neon.h"

namespace inhouse::engine {

const AttentionKernel kAttentionF32Neon = FastAttention<Neon, float, DType::kF32>::kTable;
const AttentionKernel kAttentionF16Neon = FastAttention<Neon, uint16_t, DType::kF16>::kTable;
const AttentionKernel kAttentionBf16Neon = FastAttention<Neon, Bf16, DType::kBF16>::kTable;
const AttentionKernel kAttentionE4M3Neon = FastAttention<Neon, E4M3, DType::kF8E4M3>::kTable;

}  // namespace inhouse::engine
