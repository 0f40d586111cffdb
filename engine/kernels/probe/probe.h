// What the arithmetic units and the memory of one core can do at a level: the limits that
// benchmarks quote beside their figures.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "engine/kernels/kernel_table.h"

namespace inhouse::engine {

// The dot products that bound matrix products.
enum class DotUnit : uint8_t {
  kF32,
  kBf16,  // float32 where a level has no dot product of BF16
  kInt8,  // weights of eight bits
  kInt4,  // weights of fewer: without a dot product of bytes their products fit 16 bits for longer
};
inline constexpr size_t kDotUnits = 4;

// "f32", "bf16", "int8", "int4".
std::string_view Name(DotUnit unit);

// The unit that computes most of a product. 16-bit activations are held against what 8-bit ones
// could do: where they take two dot products, they reach at most half of its peak.
DotUnit DotUnitOf(const MatMulKernel& kernel);

struct ProbeKernels {
  // Reads `bytes` (a multiple of 256) once, sequentially; returns a value that depends on all of
  // them.
  uint64_t (*read)(const std::byte* data, int64_t bytes);
  // For each unit: runs `rounds` rounds of independent chains of the level's fastest dot product in
  // registers and returns how many operations (multiplications and additions) that was.
  std::array<int64_t (*)(int64_t rounds), kDotUnits> dots;
  auto dot(DotUnit unit) const { return dots[static_cast<size_t>(unit)]; }
};

// The probes of a level. The CPU must support it (SupportedLevels).
ProbeKernels ProbesFor(IsaLevel level);

}  // namespace inhouse::engine
