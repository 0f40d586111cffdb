// A fixed team of pinned threads that runs one function at a time on all of its members.
//
// The engine runs a whole forward pass as one Run(): every member calls the same ops with the same
// arguments, takes its part of the work by its index, and meets the others at Barrier() where one
// phase reads what another wrote. At a barrier a member spins as long as the others work (a futex
// wake-up costs tens of microseconds, a decode step has hundreds of barriers) and sleeps when one
// of them has lost its CPU, so an oversubscribed team makes progress; between two runs it sleeps
// after some microseconds, so an idle one costs nothing.
#pragma once

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <thread>
#include <utility>
#include <vector>

namespace inhouse::base {

// The logical CPUs that this process may use (affinity mask), in order.
std::vector<int> AllowedCpus();

// How many threads to use by default: the allowed physical cores, bounded by the cgroup's CPU
// quota; at least 1.
int DefaultThreadCount();

class ThreadTeam;

// What a member knows while it runs. Passed by reference into every collective op; never stored.
class TeamMember {
 public:
  int index() const { return index_; }
  int count() const { return count_; }

  // All members must call it; returns when all have. What was written before is visible after.
  void Barrier() const;

  // This member's part [begin, end) of [0, n), cut at multiples of `grain` and as even as possible.
  std::pair<int64_t, int64_t> Share(int64_t n, int64_t grain = 1) const;

 private:
  friend class ThreadTeam;
  TeamMember(ThreadTeam* team, int index, int count) : team_(team), index_(index), count_(count) {}
  ThreadTeam* team_;
  int index_;
  int count_;
};

// Owns the threads. Run() may be called from one thread at a time; the caller is member 0.
class ThreadTeam {
 public:
  // `count` members including the caller. On a machine with several NUMA nodes the members are
  // spread over the allowed CPUs in order and each is bound to the CPUs of its node; inside a node
  // the kernel moves them away from CPUs that others keep busy.
  explicit ThreadTeam(int count);
  ~ThreadTeam();
  ThreadTeam(const ThreadTeam&) = delete;
  ThreadTeam& operator=(const ThreadTeam&) = delete;

  int count() const { return count_; }

  // Runs `work` on every member and returns when all are done. `work` must not throw.
  void Run(const std::function<void(const TeamMember&)>& work);

 private:
  friend class TeamMember;

  // A counter that threads can wait on; alone on its cache line.
  struct alignas(64) Counter {
    std::atomic<uint32_t> value{0};
  };

  void Worker(int index);
  void Arrive(const TeamMember& self);  // at the barrier
  void WaitAtBarrier(const TeamMember& self, uint32_t phase);
  void Sleep(const Counter& counter, uint32_t old);
  void WakeAll(Counter& counter);
  bool MaySpin();
  bool SomeoneLostItsCpu(const TeamMember& self, std::vector<int64_t>* cpu_times) const;
  void ReportLoss();

  const int count_;
  Counter generation_;  // a new Run
  Counter arrived_;     // members at the barrier
  Counter phase_;       // barriers passed
  std::atomic<int> sleepers_{0};
  std::atomic<bool> stop_{false};
  // Whether members find each other at barriers, or somebody else uses their CPUs (see
  // thread_team.cc).
  std::atomic<bool> contended_{false};
  std::atomic<uint32_t> probe_in_{0};  // barriers until the next try to spin
  std::atomic<uint32_t> probe_interval_{0};
  std::atomic<int64_t> probed_at_{0};     // ns of the steady clock
  std::atomic<int64_t> losses_since_{0};  // ns of the steady clock
  std::atomic<int> losses_{0};
  std::vector<std::atomic<int>> clocks_;  // of the members' CPU times, clockid_t
  const std::function<void(const TeamMember&)>* work_ = nullptr;
  std::vector<std::thread> threads_;
};

}  // namespace inhouse::base
