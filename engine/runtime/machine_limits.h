// The limits of this machine, measured: what `bench` and `doctor` hold their figures against.
#pragma once

#include <string>

namespace inhouse::engine {

struct MachineLimits {
  double memory_read_gb_s =
      0;                 // all threads together, plain sequential reads of far more than the caches
  double f32_gop_s = 0;  // multiplications and additions, in registers, all threads together
  double bf16_gop_s = 0;  // dot products of BF16 (float32 where the CPU has none)
  double int8_gop_s = 0;
};

// Takes about 60 ms for memory and 15 ms for arithmetic. Allocates 256 MiB on the first call and
// keeps it for the next ones.
MachineLimits MeasureLimits(int threads);

// Frees that memory.
void ReleaseLimitsMemory();

// "AMD EPYC 9354" from /proc/cpuinfo, or the architecture's name.
std::string CpuModel();

}  // namespace inhouse::engine
