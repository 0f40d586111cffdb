#include <gtest/gtest.h>
#include <stdlib.h>

#include <algorithm>
#include <filesystem>
#include <fstream>

#include "apps/inhouse/checks.h"
#include "apps/inhouse/machine_facts.h"

namespace inhouse::apps {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kGiB = 1ULL << 30;

// A machine made of files.
class FactsTest : public ::testing::Test {
 protected:
  FactsTest() {
    std::string name = fs::temp_directory_path().string() + "/inhouse-facts-XXXXXX";
    root_ = mkdtemp(name.data());
  }
  ~FactsTest() override { fs::remove_all(root_); }

  void Write(const std::string& path, const std::string& content) {
    fs::create_directories(fs::path(root_ + path).parent_path());
    std::ofstream(root_ + path) << content;
  }

  std::string root_;
};

TEST_F(FactsTest, ReadsATwoNodeServerInAContainer) {
  Write("/proc/cpuinfo",
        "processor\t: 0\nmodel name\t: AMD EPYC 9354\nflags\t\t: fpu avx2 fma avx512_bf16\n\n"
        "processor\t: 1\nmodel name\t: other\n");
  Write("/proc/stat", "cpu  100 5 20 800 10 1 2 30 0 0\ncpu0 1 1\ncpu1 1 1\nintr 5\n");
  Write("/proc/meminfo",
        "MemTotal:       67108864 kB\nMemAvailable:   33554432 kB\nSwapTotal:  1048576 kB\n"
        "SwapFree:   524288 kB\nHugePages_Total:       8\nHugepagesize:       2048 kB\n");
  Write("/sys/kernel/mm/transparent_hugepage/enabled", "always madvise [never]\n");
  Write("/sys/kernel/mm/transparent_hugepage/defrag", "always defer [madvise] never\n");
  Write("/sys/devices/system/node/node0/cpulist", "0-31\n");
  Write("/sys/devices/system/node/node0/meminfo", "Node 0 MemTotal:       32000000 kB\n");
  Write("/sys/devices/system/node/node1/cpulist", "32-63\n");
  Write("/sys/devices/system/node/node1/meminfo", "Node 1 MemTotal:       32000000 kB\n");
  Write("/proc/sys/kernel/numa_balancing", "1\n");
  Write("/proc/self/cgroup", "0::/kubepods/pod1\n");
  Write("/sys/fs/cgroup/kubepods/cpu.max", "800000 100000\n");
  Write("/sys/fs/cgroup/kubepods/pod1/cpu.max", "150000 100000\n");
  Write("/sys/fs/cgroup/kubepods/pod1/memory.max", "max\n");
  Write("/sys/fs/cgroup/kubepods/memory.max", "17179869184\n");
  Write("/etc/os-release", "NAME=x\nPRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n");
  const MachineFacts facts = ReadMachineFacts(root_);
  EXPECT_EQ(facts.cpu_model, "AMD EPYC 9354");
  EXPECT_TRUE(facts.cpu_flags.contains("avx512_bf16"));
  EXPECT_EQ(facts.cpus_online, 2);
  EXPECT_FALSE(facts.virtual_machine);
  EXPECT_EQ(facts.memory_total, 64 * kGiB);
  EXPECT_EQ(facts.swap_used, kGiB / 2);
  EXPECT_EQ(facts.thp_enabled, "never");
  EXPECT_EQ(facts.thp_defrag, "madvise");
  EXPECT_EQ(facts.huge_pages_reserved, 16ULL << 20);
  ASSERT_EQ(facts.numa.size(), 2U);
  EXPECT_EQ(facts.numa[1].cpus, "32-63");
  EXPECT_EQ(facts.numa[1].memory_bytes, 32000000ULL * 1024);
  EXPECT_EQ(facts.numa_balancing, 1);
  EXPECT_DOUBLE_EQ(facts.cpu_quota, 1.5);
  EXPECT_EQ(facts.memory_limit, 16 * kGiB);
  EXPECT_EQ(facts.UsableMemory(), 16 * kGiB);
  EXPECT_EQ(facts.system, "Debian GNU/Linux 12 (bookworm)");
  const auto ticks = ReadCpuTicks(root_);
  ASSERT_TRUE(ticks.has_value());
  EXPECT_EQ(ticks->busy, 128U);
  EXPECT_EQ(ticks->idle, 810U);
  EXPECT_EQ(ticks->stolen, 30U);
}

TEST_F(FactsTest, AMachineThatSaysNothing) {
  const MachineFacts facts = ReadMachineFacts(root_);
  EXPECT_EQ(facts.memory_total, 0U);
  EXPECT_EQ(facts.cpu_quota, 0);
  EXPECT_TRUE(facts.numa.empty());
  EXPECT_FALSE(ReadCpuTicks(root_).has_value());
  EXPECT_FALSE(CheckMachine(facts, {.best_isa = "ref", .threads = 1}).empty());
}

TEST_F(FactsTest, OlderControlGroups) {
  Write("/proc/meminfo", "MemTotal: 67108864 kB\nMemAvailable: 33554432 kB\n");
  Write("/proc/self/cgroup", "4:memory:/docker/x\n1:cpu:/docker/x\n");
  Write("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "9223372036854771712\n");
  Write("/sys/fs/cgroup/memory/docker/memory.limit_in_bytes", "8589934592\n");
  Write("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_quota_us", "200000\n");
  Write("/sys/fs/cgroup/cpu/docker/x/cpu.cfs_period_us", "100000\n");
  const MachineFacts facts = ReadMachineFacts(root_);
  EXPECT_EQ(facts.memory_limit, 8 * kGiB);
  EXPECT_DOUBLE_EQ(facts.cpu_quota, 2);
}

// A machine without faults.
MachineFacts GoodFacts() {
  MachineFacts facts;
  facts.architecture = "x86_64";
  facts.cpus_online = facts.cpus_allowed = facts.cores_allowed = 16;
  facts.memory_total = 128 * kGiB;
  facts.memory_available = 120 * kGiB;
  facts.thp_enabled = facts.thp_defrag = "madvise";
  facts.open_files_max = 65536;
  return facts;
}

Findings GoodFindings() {
  return {.best_isa = "avx512bf16",
          .threads = 16,
          .memory_read_gb_s = 200,
          .memory_read_gb_s_1_thread = 20,
          .store = "/store",
          .store_free = 500 * kGiB};
}

CheckStatus StatusOf(const std::string& name, const MachineFacts& facts, const Findings& findings) {
  for (const Check& check : CheckMachine(facts, findings)) {
    if (check.name != name) continue;
    EXPECT_EQ(check.status == CheckStatus::kSlow && check.advice.empty(), false) << name;
    return check.status;
  }
  ADD_FAILURE() << "no check " << name;
  return CheckStatus::kGood;
}

TEST(Checks, AGoodMachineIsGood) {
  for (const Check& check : CheckMachine(GoodFacts(), GoodFindings())) {
    EXPECT_EQ(check.status, CheckStatus::kGood) << check.name << ": " << check.message;
  }
}

TEST(Checks, EachFaultIsFound) {
  MachineFacts facts = GoodFacts();
  Findings findings = GoodFindings();
  facts.thp_enabled = "never";
  facts.swap_total = facts.swap_used = kGiB;
  facts.cpu_quota = 1.5;
  facts.memory_limit = kGiB;
  facts.governor = "powersave";
  facts.open_files_max = 1024;
  facts.numa = {{.id = 0, .memory_bytes = kGiB}, {.id = 1, .memory_bytes = kGiB}};
  findings.best_isa = "ref";
  findings.busy_fraction = 0.5;
  findings.stolen_fraction = 0.1;
  findings.memory_read_gb_s = 10;
  findings.memory_read_gb_s_1_thread = 5;
  findings.store_free.reset();
  for (const char* name :
       {"kernels", "cores", "load", "steal", "memory", "huge-pages", "swap", "store"}) {
    EXPECT_EQ(StatusOf(name, facts, findings), CheckStatus::kSlow) << name;
  }
  EXPECT_EQ(StatusOf("memory-speed", facts, findings), CheckStatus::kNote);  // not a fair figure
  findings.busy_fraction = 0;
  EXPECT_EQ(StatusOf("memory-speed", facts, findings), CheckStatus::kSlow);
  for (const char* name : {"frequency", "numa", "open-files"}) {
    EXPECT_EQ(StatusOf(name, facts, findings), CheckStatus::kNote) << name;
  }
}

}  // namespace
}  // namespace inhouse::apps
