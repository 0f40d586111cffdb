// The attention kernels of each ISA level that this build has. Only kernel_table.cc chooses.
#pragma once

#include "engine/kernels/attention/attention.h"

namespace inhouse::engine {

extern const AttentionKernel kAttentionF32Ref;
extern const AttentionKernel kAttentionF16Ref;
#if defined(__x86_64__)
extern const AttentionKernel kAttentionF32Avx2;
extern const AttentionKernel kAttentionF16Avx2;
extern const AttentionKernel kAttentionF32Avx512;
extern const AttentionKernel kAttentionF16Avx512;
#elif defined(__aarch64__)
extern const AttentionKernel kAttentionF32Neon;
extern const AttentionKernel kAttentionF16Neon;
#endif

}  // namespace inhouse::engine
