// The kernels of one ISA level. Levels are chosen once, at load; `ref` exists everywhere, is
// obvious, and judges the others.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/elementwise/elementwise.h"
#include "engine/kernels/matmul/matmul.h"
#include "engine/tensor/dtype.h"

namespace inhouse::engine {

// In order of preference, best last. A level is a set of CPU features, not one machine.
enum class IsaLevel : uint8_t {
  kRef,         // any CPU: plain C++, exact in float32
  kNeon,        // AArch64: Advanced SIMD of ARMv8.0
  kNeonDot,     // kNeon + dot products (ARMv8.2; Neoverse N1, Apple M1)
  kNeonI8mm,    // kNeonDot + I8MM + BF16 (ARMv8.6; Neoverse V1, V2 and N2, Apple M2)
  kAvx2,        // AVX2, FMA, F16C
  kAvxVnni,     // kAvx2 + AVX-VNNI
  kAvx512,      // AVX-512 F BW VL DQ
  kAvx512Vnni,  // kAvx512 + VNNI
  kAvx512Bf16,  // kAvx512Vnni + VBMI + BF16 (Zen 4 and later, Sapphire Rapids)
};

struct KernelTable {
  IsaLevel level;
  // The product for weights stored as `dtype`. Every floating and block type has one at every level
  // (where a level has no fast path it takes the next lower level's); integer and boolean types
  // have none: null.
  const MatMulKernel* matmul(DType dtype, ActivationBits bits = ActivationBits::k16) const {
    return matmuls[static_cast<size_t>(bits)][static_cast<size_t>(dtype)];
  }
  const MatMulKernel* matmuls[2][kDTypeCount];
  const AttentionKernel* attention_f32;
  const AttentionKernel* attention_f16;
  const AttentionKernel* attention_bf16;
  const AttentionKernel* attention_e4m3;
  const ElementwiseKernels* elementwise;
};

// "ref"; "neon", "neondot", "neoni8mm"; "avx2", "avxvnni", "avx512", "avx512vnni", "avx512bf16".
std::string_view Name(IsaLevel level);

// The levels that this CPU and operating system can run, best last; the first is kRef.
std::vector<IsaLevel> SupportedLevels();

// The table of a level, or null if this CPU cannot run it or this build does not have it.
const KernelTable* TableFor(IsaLevel level);

// Chooses by name: "" is the best level, else a name as above. Null if the name is unknown or not
// supported here.
const KernelTable* ChooseTable(std::string_view name);

// Expands one stored row to float32, exactly (every code of every format): used by `ref`,
// embeddings and conversions. `n` must be a multiple of the block.
void DequantizeRow(DType dtype, const std::byte* row, int64_t n, float* out);

}  // namespace inhouse::engine
