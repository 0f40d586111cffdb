// The limits of this machine, measured: what `bench` and `doctor` hold their figures against.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "engine/kernels/probe/probe.h"

namespace inhouse::engine {

struct MachineLimits {
  // All threads together, plain sequential reads of far more than the caches.
  double memory_read_gb_s = 0;
  // Multiplications and additions per second in registers, all threads together, of each DotUnit.
  std::array<double, kDotUnits> dot_gop_s = {};

  double dot(DotUnit unit) const { return dot_gop_s[static_cast<size_t>(unit)]; }
};

// The median of each member.
MachineLimits MedianOf(const std::vector<MachineLimits>& samples);

// Measures with a team of its own. One thread at a time.
class LimitsProbe {
 public:
  // The dot products are those of `level`; the memory is read as fast as the CPU can.
  LimitsProbe(int threads, IsaLevel level);
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
