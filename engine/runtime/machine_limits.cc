#include "engine/runtime/machine_limits.h"

#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>

#include "base/thread_team.h"
#include "engine/kernels/probe/probe.h"
#include "engine/runtime/byte_plan.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int64_t kReadBytesMin = 256LL << 20;
constexpr int64_t kReadBytesMax = 2LL << 30;
constexpr int64_t kCaches = 16;  // how many times the last-level cache the buffer is
constexpr int64_t kChunk = 1 << 20;
constexpr double kUnitSeconds = 1e-3;  // of one run in a unit

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

int64_t ReadBytes() {
  int64_t cache = 0;
#ifdef _SC_LEVEL3_CACHE_SIZE
  cache = std::max<int64_t>(sysconf(_SC_LEVEL3_CACHE_SIZE), 0);
#endif
  const int64_t wanted = std::clamp(kCaches * cache, kReadBytesMin, kReadBytesMax);
  return std::max(std::min(wanted, AvailableMemory() / 4) / kChunk, int64_t{1}) * kChunk;
}

double MedianOfRuns(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

}  // namespace

MachineLimits MedianOf(const std::vector<MachineLimits>& samples) {
  const auto median = [&samples](double MachineLimits::*member) {
    if (samples.empty()) return 0.0;
    std::vector<double> values;
    for (const MachineLimits& sample : samples) values.push_back(sample.*member);
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
  };
  return {.memory_read_gb_s = median(&MachineLimits::memory_read_gb_s),
          .f32_gop_s = median(&MachineLimits::f32_gop_s),
          .bf16_gop_s = median(&MachineLimits::bf16_gop_s),
          .int8_gop_s = median(&MachineLimits::int8_gop_s)};
}

struct LimitsProbe::State {
  explicit State(int threads)
      : team(threads),
        probes(ProbesFor(SupportedLevels().back())),
        buffer(static_cast<size_t>(ReadBytes())) {
    // First touched by the threads that read it.
    team.Run([this](const base::TeamMember& member) {
      const auto [begin, end] = member.Share(bytes(), kChunk);
      std::memset(buffer.data() + begin, 1, static_cast<size_t>(end - begin));
    });
  }

  int64_t bytes() const { return static_cast<int64_t>(buffer.size()) / kChunk * kChunk; }

  double Read() {
    std::vector<double> speeds;
    for (int run = 0; run < 3; ++run) {
      std::atomic<uint64_t> sink{0};
      const Clock::time_point start = Clock::now();
      team.Run([&](const base::TeamMember& member) {
        const auto [begin, end] = member.Share(bytes(), kChunk);
        sink |= probes.read(buffer.data() + begin, end - begin);
      });
      speeds.push_back(static_cast<double>(bytes()) / SecondsSince(start) / 1e9);
    }
    return MedianOfRuns(std::move(speeds));
  }

  // Doubles the rounds until a run is long enough that starting the team does not count, then
  // measures.
  double Unit(int64_t (*probe)(int64_t), int64_t* rounds) {
    std::vector<double> speeds;
    while (speeds.size() < 5) {
      std::atomic<int64_t> ops{0};
      const Clock::time_point start = Clock::now();
      team.Run([&](const base::TeamMember&) { ops += probe(*rounds); });
      const double seconds = SecondsSince(start);
      if (seconds < kUnitSeconds) {
        *rounds *= 2;
        continue;
      }
      speeds.push_back(static_cast<double>(ops.load()) / seconds / 1e9);
    }
    return MedianOfRuns(std::move(speeds));
  }

  base::ThreadTeam team;
  const ProbeKernels probes;
  Arena buffer;
  int64_t f32_rounds = 4096;
  int64_t bf16_rounds = 4096;
  int64_t int8_rounds = 4096;
};

LimitsProbe::LimitsProbe(int threads) : state_(std::make_unique<State>(threads)) {}
LimitsProbe::~LimitsProbe() = default;

int64_t LimitsProbe::buffer_bytes() const { return state_->bytes(); }

MachineLimits LimitsProbe::Sample() {
  State& s = *state_;
  return {.memory_read_gb_s = s.Read(),
          .f32_gop_s = s.Unit(s.probes.f32, &s.f32_rounds),
          .bf16_gop_s = s.Unit(s.probes.bf16, &s.bf16_rounds),
          .int8_gop_s = s.Unit(s.probes.int8, &s.int8_rounds)};
}

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
