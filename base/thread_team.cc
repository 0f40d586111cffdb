#include "base/thread_team.h"

#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include <algorithm>
#include <climits>
#include <cmath>
#include <fstream>
#include <set>
#include <string>
#include <utility>

namespace inhouse::base {
namespace {

// In pauses of 10 to 40 ns. Short: about a cache line's journey. A watch: long enough to tell
// whether the other members get their CPUs.
constexpr int kShortSpins = 60;
constexpr int kWatchSpins = 4000;
// Between two runs: the next decode step usually follows at once.
constexpr int kIdleSpins = 2000;
// Longer waits have other reasons than an op's imbalance, and burn a CPU.
constexpr int kWatchesMax = 200;
constexpr uint32_t kProbeIntervalMin = 128;  // barriers; a decode step has a few hundred
constexpr uint32_t kProbeIntervalMax = 1U << 16;
constexpr int64_t kCalm = 1'000'000'000;      // ns
constexpr int64_t kLossWindow = 100'000'000;  // ns
constexpr int kLossesMax = 8;

void Pause() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  asm volatile("yield");
#endif
}

int64_t Nanoseconds(clockid_t clock) {
  timespec time = {};
  clock_gettime(clock, &time);
  return time.tv_sec * 1'000'000'000 + time.tv_nsec;
}

// Whether the counter changed within so many pauses.
bool Spin(const std::atomic<uint32_t>& counter, uint32_t old, int pauses) {
  for (int i = 0; i < pauses; ++i) {
    if (counter.load(std::memory_order_acquire) != old) return true;
    Pause();
  }
  return false;
}

// Siblings of one core share a "thread_siblings_list"; one CPU per distinct list is a physical
// core.
int PhysicalCores(const std::vector<int>& cpus) {
  std::set<std::string> cores;
  for (const int cpu : cpus) {
    std::ifstream file("/sys/devices/system/cpu/cpu" + std::to_string(cpu) +
                       "/topology/thread_siblings_list");
    std::string siblings;
    if (!std::getline(file, siblings)) siblings = std::to_string(cpu);
    cores.insert(siblings);
  }
  return static_cast<int>(cores.size());
}

// CPUs that the cgroup's quota allows, rounded up; 0 if there is no quota.
int CgroupCpus() {
  std::ifstream v2("/sys/fs/cgroup/cpu.max");
  std::string quota;
  double period = 0;
  if (v2 >> quota >> period && quota != "max" && period > 0) {
    return static_cast<int>(std::ceil(std::strtod(quota.c_str(), nullptr) / period));
  }
  std::ifstream v1_quota("/sys/fs/cgroup/cpu/cpu.cfs_quota_us");
  std::ifstream v1_period("/sys/fs/cgroup/cpu/cpu.cfs_period_us");
  double q = 0;
  if (v1_quota >> q && v1_period >> period && q > 0 && period > 0) {
    return static_cast<int>(std::ceil(q / period));
  }
  return 0;
}

// On a machine with several nodes: binds the calling thread to the allowed CPUs of the node that
// `cpu` belongs to. A hint: without it the team is only slower.
void BindToNodeOf(int cpu) {
  for (int node = 0;; ++node) {
    const std::string directory = "/sys/devices/system/node/node" + std::to_string(node);
    if (access(directory.c_str(), F_OK) != 0) return;
    if (access((directory + "/cpu" + std::to_string(cpu)).c_str(), F_OK) != 0) continue;
    cpu_set_t set;
    CPU_ZERO(&set);
    bool all = true;
    for (const int other : AllowedCpus()) {
      const bool here = access((directory + "/cpu" + std::to_string(other)).c_str(), F_OK) == 0;
      if (here) CPU_SET(static_cast<size_t>(other), &set);
      all = all && here;
    }
    if (!all) pthread_setaffinity_np(pthread_self(), sizeof(set), &set);
    return;
  }
}

}  // namespace

std::vector<int> AllowedCpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  std::vector<int> cpus;
  if (sched_getaffinity(0, sizeof(set), &set) != 0) return {0};
  for (int cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(static_cast<size_t>(cpu), &set)) cpus.push_back(cpu);
  }
  return cpus.empty() ? std::vector<int>{0} : cpus;
}

int DefaultThreadCount() {
  int count = PhysicalCores(AllowedCpus());
  if (const int quota = CgroupCpus(); quota > 0) count = std::min(count, quota);
  return std::max(count, 1);
}

void TeamMember::Barrier() const {
  if (count_ > 1) team_->Arrive(*this);
}

std::pair<int64_t, int64_t> TeamMember::Share(int64_t n, int64_t grain) const {
  const int64_t grains = (n + grain - 1) / grain;
  const int64_t begin = grains * index_ / count_ * grain;
  const int64_t end = grains * (index_ + 1) / count_ * grain;
  return {std::min(begin, n), std::min(end, n)};
}

ThreadTeam::ThreadTeam(int count)
    : count_(std::max(count, 1)), clocks_(static_cast<size_t>(count_)) {
  const std::vector<int> cpus = AllowedCpus();
  // More members than CPUs can never all run: as good as contended from the start.
  contended_.store(count_ > static_cast<int>(cpus.size()));
  probe_interval_.store(contended_.load() ? kProbeIntervalMax : kProbeIntervalMin);
  probe_in_.store(probe_interval_.load());
  for (int i = 1; i < count_; ++i) {
    const int cpu = cpus[static_cast<size_t>(i) % cpus.size()];
    threads_.emplace_back([this, i, cpu] {
      BindToNodeOf(cpu);
      Worker(i);
    });
    clockid_t clock = 0;
    pthread_getcpuclockid(threads_.back().native_handle(), &clock);
    clocks_[static_cast<size_t>(i)].store(clock);
  }
}

ThreadTeam::~ThreadTeam() {
  stop_.store(true);
  generation_.value.fetch_add(1);
  WakeAll(generation_);
  for (std::thread& thread : threads_) thread.join();
}

void ThreadTeam::Run(const std::function<void(const TeamMember&)>& work) {
  if (count_ == 1) {
    work(TeamMember(this, 0, 1));
    return;
  }
  work_ = &work;
  clockid_t clock = 0;
  pthread_getcpuclockid(pthread_self(), &clock);
  clocks_[0].store(clock);
  generation_.value.fetch_add(1);
  WakeAll(generation_);
  const TeamMember self(this, 0, count_);
  work(self);
  self.Barrier();
  work_ = nullptr;
}

void ThreadTeam::Worker(int index) {
  const TeamMember self(this, index, count_);
  uint32_t seen = 0;
  while (true) {
    if (!Spin(generation_.value, seen, kIdleSpins)) Sleep(generation_, seen);
    if (stop_.load()) return;
    ++seen;
    (*work_)(self);
    self.Barrier();
  }
}

void ThreadTeam::Arrive(const TeamMember& self) {
  const uint32_t phase = phase_.value.load();
  if (arrived_.value.fetch_add(1) + 1 == static_cast<uint32_t>(count_)) {
    arrived_.value.store(0);
    phase_.value.fetch_add(1);
    WakeAll(phase_);
    return;
  }
  WaitAtBarrier(self, phase);
}

// Spins as long as the others work: a wake-up costs more than most waits. When another member has
// lost its CPU, spinning only keeps one from whoever holds that member up: the wait goes on asleep.
// A team that loses its CPUs all the time does not spin at all, but for a try now and then.
void ThreadTeam::WaitAtBarrier(const TeamMember& self, uint32_t phase) {
  if (!MaySpin()) {
    if (!Spin(phase_.value, phase, kShortSpins)) Sleep(phase_, phase);
    return;
  }
  if (Spin(phase_.value, phase, kWatchSpins)) return;
  std::vector<int64_t> cpu_times;
  SomeoneLostItsCpu(self, &cpu_times);
  for (int watch = 0; watch < kWatchesMax; ++watch) {
    if (Spin(phase_.value, phase, kWatchSpins)) return;
    if (!SomeoneLostItsCpu(self, &cpu_times)) continue;
    ReportLoss();
    break;
  }
  Sleep(phase_, phase);
}

// Since the call before. `cpu_times`: of the members, then the wall clock; empty at first.
bool ThreadTeam::SomeoneLostItsCpu(const TeamMember& self, std::vector<int64_t>* cpu_times) const {
  std::vector<int64_t> now;
  for (const std::atomic<int>& clock : clocks_) now.push_back(Nanoseconds(clock.load()));
  now.push_back(Nanoseconds(CLOCK_MONOTONIC));
  const std::vector<int64_t> before = std::exchange(*cpu_times, now);
  if (before.empty()) return false;
  int idle = -sleepers_.load();  // who sleeps at the barrier has lost nothing
  for (size_t i = 0; i < clocks_.size(); ++i) {
    // Where the clock of another thread cannot be read, it is always zero.
    const bool ran = now[i] == 0 || now[i] - before[i] > (now.back() - before.back()) / 2;
    if (!ran && static_cast<int>(i) != self.index()) ++idle;
  }
  return idle > 0;
}

bool ThreadTeam::MaySpin() {
  if (!contended_.load(std::memory_order_relaxed)) return true;
  if (probe_in_.fetch_sub(1, std::memory_order_relaxed) != 1) return false;
  probed_at_.store(Nanoseconds(CLOCK_MONOTONIC), std::memory_order_relaxed);
  contended_.store(false, std::memory_order_relaxed);
  return true;
}

// One loss is somebody's interrupt or time slice; many in a short time are a machine that is not
// ours. The intervals between tries grow as long as they fail.
void ThreadTeam::ReportLoss() {
  const int64_t now = Nanoseconds(CLOCK_MONOTONIC);
  if (now - losses_since_.load(std::memory_order_relaxed) > kLossWindow) {
    losses_since_.store(now, std::memory_order_relaxed);
    losses_.store(0, std::memory_order_relaxed);
  }
  if (losses_.fetch_add(1, std::memory_order_relaxed) + 1 < kLossesMax) return;
  losses_since_.store(0, std::memory_order_relaxed);
  if (contended_.exchange(true, std::memory_order_relaxed)) return;
  const bool calm = now - probed_at_.load(std::memory_order_relaxed) > kCalm;
  const uint32_t interval =
      calm ? kProbeIntervalMin : probe_interval_.load(std::memory_order_relaxed);
  probe_in_.store(interval, std::memory_order_relaxed);
  probe_interval_.store(std::min(interval * 2, kProbeIntervalMax), std::memory_order_relaxed);
}

// The sleeper count and the value are both sequentially consistent: either the waker sees the
// sleeper, or the futex sees the new value and does not sleep.
void ThreadTeam::Sleep(const Counter& counter, uint32_t old) {
  sleepers_.fetch_add(1);
  while (counter.value.load() == old) {
    syscall(SYS_futex, &counter.value, FUTEX_WAIT_PRIVATE, old, nullptr, nullptr, 0);
  }
  sleepers_.fetch_sub(1);
}

void ThreadTeam::WakeAll(Counter& counter) {
  if (sleepers_.load() > 0) {
    syscall(SYS_futex, &counter.value, FUTEX_WAKE_PRIVATE, INT_MAX, nullptr, nullptr, 0);
  }
}

}  // namespace inhouse::base
