#include "engine/kernels/attention/attention_kernels.h"
#include "engine/kernels/attention/fast.h"
#include "engine/kernels/elementwise/vector_neon.h"

namespace inhouse::engine {

const AttentionKernel kAttentionF32Neon = FastAttention<Neon, float, DType::kF32>::kTable;
const AttentionKernel kAttentionF16Neon = FastAttention<Neon, uint16_t, DType::kF16>::kTable;

}  // namespace inhouse::engine
