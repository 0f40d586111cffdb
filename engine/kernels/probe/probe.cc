#include "engine/kernels/probe/probe.h"

#include "engine/kernels/probe/probe_kernels.h"

namespace inhouse::engine {

std::string_view Name(DotUnit unit) {
  constexpr std::string_view kNames[kDotUnits] = {"f32", "bf16", "int8", "int4"};
  return kNames[static_cast<size_t>(unit)];
}

DotUnit DotUnitOf(const MatMulKernel& kernel) {
  switch (kernel.activations) {
    case ActivationLayout::kF32:
      return DotUnit::kF32;
    case ActivationLayout::kBF16Pairs:
      return DotUnit::kBf16;
    case ActivationLayout::kI16Groups32:
    case ActivationLayout::kI16Groups128:
    case ActivationLayout::kI8Groups32:
    case ActivationLayout::kI8Groups128:
      break;
  }
  const DType weights = kernel.weights;
  return weights == DType::kQ8_0 || weights == DType::kI8Group128 || weights == DType::kI8Group32
             ? DotUnit::kInt8
             : DotUnit::kInt4;
}

ProbeKernels ProbesFor(IsaLevel level) {
  // Where a level has no BF16 dot product, BF16 weights are multiplied in float32.
  switch (level) {
    case IsaLevel::kRef:
      break;
#if defined(__x86_64__)
    case IsaLevel::kAvx2:
      return {ProbeReadAvx2, {ProbeF32Avx2, ProbeF32Avx2, ProbeInt8Avx2, ProbeInt4Avx2}};
    case IsaLevel::kAvxVnni:
      return {ProbeReadAvx2, {ProbeF32Avx2, ProbeF32Avx2, ProbeInt8AvxVnni, ProbeInt8AvxVnni}};
    case IsaLevel::kAvx512:
      return {ProbeReadAvx512, {ProbeF32Avx512, ProbeF32Avx512, ProbeInt8Avx512, ProbeInt4Avx512}};
    case IsaLevel::kAvx512Vnni:
      return {ProbeReadAvx512,
              {ProbeF32Avx512, ProbeF32Avx512, ProbeInt8Avx512Vnni, ProbeInt8Avx512Vnni}};
    case IsaLevel::kAvx512Bf16:
      return {ProbeReadAvx512,
              {ProbeF32Avx512, ProbeBf16Avx512, ProbeInt8Avx512Vnni, ProbeInt8Avx512Vnni}};
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
      return {ProbeReadNeon, {ProbeF32Neon, ProbeF32Neon, ProbeInt8Neon, ProbeInt8Neon}};
    case IsaLevel::kNeonDot:
      return {ProbeReadNeon, {ProbeF32Neon, ProbeF32Neon, ProbeInt8NeonDot, ProbeInt8NeonDot}};
    case IsaLevel::kNeonI8mm:
      return {ProbeReadNeon,
              {ProbeF32Neon, ProbeBf16NeonI8mm, ProbeInt8NeonI8mm, ProbeInt8NeonI8mm}};
#else
    case IsaLevel::kNeon:
    case IsaLevel::kNeonDot:
    case IsaLevel::kNeonI8mm:
      break;
#endif
  }
  return {ProbeReadRef, {ProbeF32Ref, ProbeF32Ref, ProbeInt8Ref, ProbeInt8Ref}};
}

}  // namespace inhouse::engine
