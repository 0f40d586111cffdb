// What the arithmetic units and the memory of one core can do at a level: the limits that
// benchmarks quote beside their figures.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/kernel_table.h"

namespace inhouse::engine {

struct ProbeKernels {
  // Reads `bytes` (a multiple of 256) once, sequentially; returns a value that depends on all of
  // them.
  uint64_t (*read)(const std::byte* data, int64_t bytes);
  // Each runs `rounds` rounds of independent multiply-add chains in registers and returns how many
  // operations (multiplications and additions) that was.
  int64_t (*f32)(int64_t rounds);
  int64_t (*bf16)(int64_t rounds);  // the fastest dot product for BF16 weights at this level
  int64_t (*int8)(int64_t rounds);  // the fastest dot product for 8-bit weights at this level
};

// The probes of a level. The CPU must support it (SupportedLevels).
ProbeKernels ProbesFor(IsaLevel level);

}  // namespace inhouse::engine
