#include "engine/kernels/probe/probe.h"

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

ProbeKernels ProbesFor(IsaLevel level) {
  // Where a level has no BF16 dot product, BF16 weights are multiplied in float32.
  switch (level) {
    case IsaLevel::kRef:
      break;
#if defined(__x86_64__)
    case IsaLevel::kAvx2:
      return {ProbeReadAvx2, ProbeF32Avx2, ProbeF32Avx2, ProbeInt8Avx2};
    case IsaLevel::kAvxVnni:
      return {ProbeReadAvx2, ProbeF32Avx2, ProbeF32Avx2, ProbeInt8AvxVnni};
    case IsaLevel::kAvx512:
      return {ProbeReadAvx512, ProbeF32Avx512, ProbeF32Avx512, ProbeInt8Avx512};
    case IsaLevel::kAvx512Vnni:
      return {ProbeReadAvx512, ProbeF32Avx512, ProbeF32Avx512, ProbeInt8Avx512Vnni};
    case IsaLevel::kAvx512Bf16:
      return {ProbeReadAvx512, ProbeF32Avx512, ProbeBf16Avx512, ProbeInt8Avx512Vnni};
#else
    case IsaLevel::kAvx2:
    case IsaLevel::kAvxVnni:
    case IsaLevel::kAvx512:
    case IsaLevel::kAvx512Vnni:
    case IsaLevel::kAvx512Bf16:
      break;
#endif
#if defined(__aarch64__)
    case IsaLevel::kNeon:
      return {ProbeReadNeon, ProbeF32Neon, ProbeF32Neon, ProbeInt8Neon};
    case IsaLevel::kNeonDot:
      return {ProbeReadNeon, ProbeF32Neon, ProbeF32Neon, ProbeInt8NeonDot};
    case IsaLevel::kNeonI8mm:
      return {ProbeReadNeon, ProbeF32Neon, ProbeBf16NeonI8mm, ProbeInt8NeonI8mm};
#else
    case IsaLevel::kNeon:
    case IsaLevel::kNeonDot:
    case IsaLevel::kNeonI8mm:
      break;
#endif
  }
  return {ProbeReadRef, ProbeF32Ref, ProbeF32Ref, ProbeInt8Ref};
}

}  // namespace inhouse::engine
