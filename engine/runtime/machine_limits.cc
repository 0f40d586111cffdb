#include "engine/runtime/machine_limits.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>

#include "base/thread_team.h"
#include "engine/kernels/probe/probe.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kReadBytes = 256LL << 20;  // several times the largest caches
constexpr int64_t kChunk = 1 << 20;
constexpr int64_t kRounds = 200000;  // about 2 ms of arithmetic

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// Kept between measurements: making it costs more than reading it.
std::unique_ptr<Arena>& ReadBuffer() {
  static std::unique_ptr<Arena> buffer;
  return buffer;
}

double MeasureRead(base::ThreadTeam& team, const ProbeKernels& probes) {
  std::unique_ptr<Arena>& buffer = ReadBuffer();
  if (!buffer) {
    buffer = std::make_unique<Arena>(static_cast<size_t>(kReadBytes));
    team.Run([&](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(kReadBytes, kChunk);
      std::memset(buffer->data() + begin, 1, static_cast<size_t>(end - begin));
    });
  }
  std::atomic<uint64_t> sink{0};
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    const Clock::time_point start = Clock::now();
    team.Run([&](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(kReadBytes, kChunk);
      sink |= probes.read(buffer->data() + begin, end - begin);
    });
    best = std::max(best, static_cast<double>(kReadBytes) / Seconds(Clock::now() - start) / 1e9);
  }
  return best;
}

double MeasureOps(base::ThreadTeam& team, int64_t (*probe)(int64_t)) {
  double best = 0;
  for (int round = 0; round < 3; ++round) {
    std::atomic<int64_t> ops{0};
    const Clock::time_point start = Clock::now();
    team.Run([&](const base::TeamMember&) { ops += probe(kRounds); });
    best = std::max(best, static_cast<double>(ops.load()) / Seconds(Clock::now() - start) / 1e9);
  }
  return best;
}

}  // namespace

MachineLimits MeasureLimits(int threads) {
  base::ThreadTeam team(threads);
  const ProbeKernels probes = ProbesFor(SupportedLevels().back());
  return {.memory_read_gb_s = MeasureRead(team, probes),
          .f32_gop_s = MeasureOps(team, probes.f32),
          .bf16_gop_s = MeasureOps(team, probes.bf16),
          .int8_gop_s = MeasureOps(team, probes.int8)};
}

void ReleaseLimitsMemory() { ReadBuffer().reset(); }

std::string CpuModel() {
  std::ifstream cpuinfo("/proc/cpuinfo");
  std::string line;
  while (std::getline(cpuinfo, line)) {
    const size_t colon = line.find(": ");
    if (line.rfind("model name", 0) == 0 && colon != std::string::npos)
      return line.substr(colon + 2);
  }
#if defined(__aarch64__)
  return "aarch64";
#elif defined(__riscv)
  return "riscv64";
#else
  return "unknown";
#endif
}

}  // namespace inhouse::engine
