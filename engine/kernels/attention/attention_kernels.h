// The attention kernels of each ISA level that this build has. Only kernel_table.cc chooses.
#pragma once

#include "engine/kernels/attention/attention.h"

namespace inhouse::engine {

extern const AttentionKernel kAttentionF32Ref;
extern const AttentionKernel kAttentionF16Ref;
extern const AttentionKernel kAttentionBf16Ref;
extern const AttentionKernel kAttentionE4M3Ref;
#if defined(__x86_64__)
extern const AttentionKernel kAttentionF32Avx2;
extern const AttentionKernel kAttentionF16Avx2;
extern const AttentionKernel kAttentionBf16Avx2;
extern const AttentionKernel kAttentionE4M3Avx2;
extern const AttentionKernel kAttentionF32Avx512;
extern const AttentionKernel kAttentionF16Avx512;
extern const AttentionKernel kAttentionBf16Avx512;
extern const AttentionKernel kAttentionE4M3Avx512;
#elif defined(__aarch64__)
extern const AttentionKernel kAttentionF32Neon;
extern const AttentionKernel kAttentionF16Neon;
extern const AttentionKernel kAttentionBf16Neon;
extern const AttentionKernel kAttentionE4M3Neon;
#endif

}  // namespace inhouse::engine
