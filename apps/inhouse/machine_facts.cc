#include "apps/inhouse/machine_facts.h"

#include <sys/resource.h>
#include <sys/utsname.h>

#include <algorithm>
#include <charconv>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "base/thread_team.h"

namespace inhouse::apps {
namespace {

namespace fs = std::filesystem;

std::string FirstLine(const std::string& path) {
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  return line;
}

std::optional<uint64_t> Number(const std::string& text) {
  uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (text.empty() || error != std::errc()) return {};
  return value;
}

uint64_t NumberIn(const std::string& path) { return Number(FirstLine(path)).value_or(0); }

// "key:   value" lines, as in /proc/meminfo and the first CPU of /proc/cpuinfo.
std::map<std::string, std::string> ColonLines(const std::string& path) {
  std::map<std::string, std::string> out;
  std::ifstream file(path);
  std::string line;
  while (std::getline(file, line)) {
    const size_t colon = line.find(':');
    if (colon == std::string::npos) {
      if (!out.empty()) break;  // the second CPU says the same
      continue;
    }
    const size_t key_end = line.find_last_not_of(" \t", colon == 0 ? 0 : colon - 1);
    const size_t begin = line.find_first_not_of(" \t", colon + 1);
    out[line.substr(0, key_end + 1)] = begin == std::string::npos ? "" : line.substr(begin);
  }
  return out;
}

// "always [madvise] never" -> "madvise"
std::string Chosen(const std::string& line) {
  const size_t open = line.find('[');
  const size_t close = line.find(']');
  if (open == std::string::npos || close == std::string::npos || close < open) return "";
  return line.substr(open + 1, close - open - 1);
}

std::string Value(const std::map<std::string, std::string>& map, const char* key) {
  const auto it = map.find(key);
  return it == map.end() ? "" : it->second;
}

uint64_t Kibibytes(const std::map<std::string, std::string>& map, const char* key) {
  return Number(Value(map, key)).value_or(0) * 1024;
}

void ReadCpu(const std::string& root, MachineFacts* facts) {
  const auto info = ColonLines(root + "/proc/cpuinfo");
  for (const char* key : {"model name", "Processor", "uarch"}) {
    if (facts->cpu_model.empty()) facts->cpu_model = Value(info, key);
  }
  std::istringstream flags(Value(info, "flags") + " " + Value(info, "Features"));
  for (std::string flag; flags >> flag;) facts->cpu_flags.insert(flag);
  facts->virtual_machine = facts->cpu_flags.contains("hypervisor");
  std::ifstream stat(root + "/proc/stat");
  for (std::string line; std::getline(stat, line);) {
    if (line.starts_with("cpu") && line.size() > 3 && line[3] >= '0' && line[3] <= '9') {
      ++facts->cpus_online;
    }
  }
  const std::vector<int> allowed = base::AllowedCpus();
  facts->cpus_allowed = static_cast<int>(allowed.size());
  std::set<std::string> cores;
  for (const int cpu : allowed) {
    const std::string topology =
        root + "/sys/devices/system/cpu/cpu" + std::to_string(cpu) + "/topology/";
    const std::string siblings = FirstLine(topology + "thread_siblings_list");
    cores.insert(siblings.empty() ? std::to_string(cpu) : siblings);
  }
  facts->cores_allowed = static_cast<int>(cores.size());
  facts->governor = FirstLine(root + "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor");
}

void ReadNuma(const std::string& root, MachineFacts* facts) {
  std::error_code error;
  const std::string nodes = root + "/sys/devices/system/node";
  for (fs::directory_iterator it(nodes, error), end; !error && it != end; it.increment(error)) {
    const std::string name = it->path().filename().string();
    if (!name.starts_with("node")) continue;
    const auto id = Number(name.substr(4));
    if (!id.has_value()) continue;
    NumaNode node = {.id = static_cast<int>(*id),
                     .cpus = FirstLine(it->path().string() + "/cpulist")};
    std::ifstream memory(it->path().string() + "/meminfo");  // "Node 0 MemTotal:  24 kB"
    for (std::string line; std::getline(memory, line);) {
      const size_t at = line.find("MemTotal:");
      if (at == std::string::npos) continue;
      const size_t digit = line.find_first_of("0123456789", at);
      if (digit != std::string::npos) {
        node.memory_bytes = Number(line.substr(digit)).value_or(0) * 1024;
      }
    }
    facts->numa.push_back(std::move(node));
  }
  std::sort(facts->numa.begin(), facts->numa.end(),
            [](const NumaNode& a, const NumaNode& b) { return a.id < b.id; });
  if (const auto on = Number(FirstLine(root + "/proc/sys/kernel/numa_balancing"))) {
    facts->numa_balancing = static_cast<int>(*on);
  }
}

void ReadMemory(const std::string& root, MachineFacts* facts) {
  const auto info = ColonLines(root + "/proc/meminfo");
  facts->memory_total = Kibibytes(info, "MemTotal");
  facts->memory_available = Kibibytes(info, "MemAvailable");
  facts->swap_total = Kibibytes(info, "SwapTotal");
  facts->swap_used = facts->swap_total - std::min(facts->swap_total, Kibibytes(info, "SwapFree"));
  facts->huge_pages_reserved =
      Number(Value(info, "HugePages_Total")).value_or(0) * Kibibytes(info, "Hugepagesize");
  const std::string thp = root + "/sys/kernel/mm/transparent_hugepage/";
  facts->thp_enabled = Chosen(FirstLine(thp + "enabled"));
  facts->thp_defrag = Chosen(FirstLine(thp + "defrag"));
}

// The tightest limits from the process's own group up to the root, cgroup v2 and v1.
void ReadCgroup(const std::string& root, MachineFacts* facts) {
  const std::string mount = root + "/sys/fs/cgroup";
  const auto tighten_memory = [&](const std::string& path) {
    const uint64_t limit = NumberIn(path);  // "max" is no number
    const bool real = limit > 0 && (facts->memory_total == 0 || limit < facts->memory_total);
    if (real && (facts->memory_limit == 0 || limit < facts->memory_limit)) {
      facts->memory_limit = limit;
    }
  };
  const auto tighten_cpu = [&](double quota, double period) {
    if (quota <= 0 || period <= 0) return;
    const double cpus = quota / period;
    if (facts->cpu_quota == 0 || cpus < facts->cpu_quota) facts->cpu_quota = cpus;
  };
  std::ifstream groups(root + "/proc/self/cgroup");
  for (std::string line; std::getline(groups, line);) {  // "0::/a/b" or "4:memory:/a/b"
    const size_t first = line.find(':');
    const size_t second = line.find(':', first + 1);
    if (first == std::string::npos || second == std::string::npos) continue;
    const std::string controllers = line.substr(first + 1, second - first - 1);
    const std::string base = controllers.empty() ? mount : mount + "/" + controllers;
    std::string group = line.substr(second + 1);
    while (true) {
      const std::string directory = base + (group == "/" ? "" : group);
      std::istringstream max(FirstLine(directory + "/cpu.max"));
      double quota = 0;
      double period = 0;
      if (max >> quota >> period) tighten_cpu(quota, period);
      tighten_memory(directory + "/memory.max");
      tighten_memory(directory + "/memory.limit_in_bytes");
      tighten_cpu(static_cast<double>(NumberIn(directory + "/cpu.cfs_quota_us")),
                  static_cast<double>(NumberIn(directory + "/cpu.cfs_period_us")));
      if (group.empty() || group == "/") break;
      group.resize(group.rfind('/'));
    }
  }
}

std::string SystemName(const std::string& root) {
  std::ifstream file(root + "/etc/os-release");
  for (std::string line; std::getline(file, line);) {
    if (!line.starts_with("PRETTY_NAME=")) continue;
    line.erase(0, 12);
    std::erase(line, '"');
    return line;
  }
  return "";
}

}  // namespace

uint64_t MachineFacts::UsableMemory() const {
  return memory_limit == 0 ? memory_available : std::min(memory_available, memory_limit);
}

MachineFacts ReadMachineFacts(const std::string& root) {
  MachineFacts facts;
  struct utsname names = {};
  if (uname(&names) == 0) {
    facts.architecture = names.machine;
    facts.kernel = names.release;
  }
  facts.system = SystemName(root);
  ReadCpu(root, &facts);
  ReadNuma(root, &facts);
  ReadMemory(root, &facts);
  ReadCgroup(root, &facts);
  struct rlimit files = {};
  if (getrlimit(RLIMIT_NOFILE, &files) == 0) facts.open_files_max = files.rlim_cur;
  return facts;
}

std::optional<CpuTicks> ReadCpuTicks(const std::string& root) {
  std::ifstream file(root + "/proc/stat");
  std::string name;
  uint64_t user = 0, nice = 0, system = 0, idle = 0, wait = 0, irq = 0, soft = 0, steal = 0;
  if (!(file >> name >> user >> nice >> system >> idle >> wait >> irq >> soft >> steal)) return {};
  return CpuTicks{.busy = user + nice + system + irq + soft, .idle = idle + wait, .stolen = steal};
}

}  // namespace inhouse::apps
