// What the operating system says about this machine, as far as the speed of inference depends on
// it. Reads /proc and /sys; measures nothing.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace inhouse::apps {

struct NumaNode {
  int id = 0;
  std::string cpus = {};  // "0-15,32-47"
  uint64_t memory_bytes = 0;
};

// A member is empty where the system does not say (containers, virtual machines).
struct MachineFacts {
  std::string cpu_model = {};
  std::string architecture = {};  // of the kernel: "x86_64", "aarch64"
  std::string kernel = {};        // release
  std::string system = {};        // "Debian GNU/Linux 12 (bookworm)"
  bool virtual_machine = false;
  std::set<std::string> cpu_flags = {};
  int cpus_online = 0;
  int cpus_allowed = 0;   // affinity
  int cores_allowed = 0;  // physical ones among these
  double cpu_quota = 0;   // of the cgroup, in CPUs; 0 = none
  std::string governor = {};
  std::vector<NumaNode> numa = {};
  int numa_balancing = -1;

  uint64_t memory_total = 0;
  uint64_t memory_available = 0;
  uint64_t memory_limit = 0;  // of the cgroup; 0 = none
  uint64_t swap_total = 0;
  uint64_t swap_used = 0;
  std::string thp_enabled = {};  // "always", "madvise", "never"
  std::string thp_defrag = {};
  uint64_t huge_pages_reserved = 0;  // bytes in hugetlbfs, which the engine does not use
  uint64_t open_files_max = 0;

  // The least of machine and cgroup.
  uint64_t UsableMemory() const;
};

// `root` is put before every path, for tests: "" on a real machine.
MachineFacts ReadMachineFacts(const std::string& root = "");

// Ticks since the start, all CPUs together, from /proc/stat.
struct CpuTicks {
  uint64_t busy = 0;
  uint64_t idle = 0;
  uint64_t stolen = 0;  // the hypervisor ran somebody else

  uint64_t total() const { return busy + idle + stolen; }
};
std::optional<CpuTicks> ReadCpuTicks(const std::string& root = "");

}  // namespace inhouse::apps
