// The limits of this machine, measured: what `bench` and `doctor` hold their figures against.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace inhouse::engine {

struct MachineLimits {
  // All threads together, plain sequential reads of far more than the caches.
  double memory_read_gb_s = 0;
  // Multiplications and additions per second in registers, all threads together.
  double f32_gop_s = 0;
  double bf16_gop_s = 0;  // dot products of BF16 (float32 where the CPU has none)
  double int8_gop_s = 0;  // the fastest dot product of 8-bit codes, each counted once
};

// The median of each member.
MachineLimits MedianOf(const std::vector<MachineLimits>& samples);

// Measures with a team of its own, on the best level that the CPU has. One thread at a time.
class LimitsProbe {
 public:
  explicit LimitsProbe(int threads);
  ~LimitsProbe();

  // One sample, some 30 ms: the median of three reads of the whole buffer, and of five runs of a
  // millisecond in each unit. Shared machines drift and are interrupted: take samples before and
  // after what they are held against.
  MachineLimits Sample();

  // What the probe itself keeps in memory: sixteen times the last-level cache, at least 256 MiB,
  // but no more than a quarter of what is free.
  int64_t buffer_bytes() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

// "AMD EPYC 9354" from /proc/cpuinfo, or the architecture's name.
std::string CpuModel();

}  // namespace inhouse::engine
