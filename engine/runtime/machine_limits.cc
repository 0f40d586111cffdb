#include "engine/runtime/machine_limits.h"

#include <unistd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstring>
#include <fstream>

#include "base/thread_team.h"
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
  if (samples.empty()) return {};
  const auto median = [&samples](auto value_of) {
    std::vector<double> values;
    for (const MachineLimits& sample : samples) values.push_back(value_of(sample));
    std::sort(values.begin(), values.end());
    const size_t n = values.size();
    return (values[(n - 1) / 2] + values[n / 2]) / 2;
  };
  MachineLimits limits;
  limits.memory_read_gb_s = median([](const MachineLimits& s) { return s.memory_read_gb_s; });
  for (size_t unit = 0; unit < kDotUnits; ++unit) {
    limits.dot_gop_s[unit] = median([unit](const MachineLimits& s) { return s.dot_gop_s[unit]; });
  }
  return limits;
}

struct LimitsProbe::State {
  State(int threads, IsaLevel level)
      : team(threads),
        read(ProbesFor(SupportedLevels().back()).read),
        dots(ProbesFor(level).dots),
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
        sink |= read(buffer.data() + begin, end - begin);
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
  uint64_t (*const read)(const std::byte*, int64_t);
  const decltype(ProbeKernels::dots) dots;
  Arena buffer;
  std::array<int64_t, kDotUnits> rounds = {4096, 4096, 4096, 4096};
};

LimitsProbe::LimitsProbe(int threads, IsaLevel level)
    : state_(std::make_unique<State>(threads, level)) {}
LimitsProbe::~LimitsProbe() = default;

int64_t LimitsProbe::buffer_bytes() const { return state_->bytes(); }

MachineLimits LimitsProbe::Sample() {
  State& s = *state_;
  MachineLimits limits;
  limits.memory_read_gb_s = s.Read();
  for (size_t unit = 0; unit < kDotUnits; ++unit) {
    // Units of one probe have one peak.
    const auto* same = std::find(s.dots.begin(), s.dots.end(), s.dots[unit]);
    const auto first = static_cast<size_t>(same - s.dots.begin());
    limits.dot_gop_s[unit] =
        first < unit ? limits.dot_gop_s[first] : s.Unit(s.dots[unit], &s.rounds[unit]);
  }
  return limits;
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
