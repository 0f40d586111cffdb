#include "apps/inhouse/checks.h"

#include <algorithm>

#include "apps/inhouse/progress.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

constexpr uint64_t kGiB = 1ULL << 30;
constexpr double kBusy = 0.15;

std::string Memory(uint64_t bytes) { return FormatBinaryBytes(static_cast<double>(bytes)); }

Check Kernels(const MachineFacts& facts, const Findings& findings) {
  Check check = {.name = "kernels",
                 .message = fmt::format("the best kernels for this CPU: {}", findings.best_isa)};
  const bool x86 = facts.architecture == "x86_64";
  if (findings.best_isa == "ref") {
    check.status = CheckStatus::kSlow;
    check.message = "only the reference kernels run here; they are made to be right, not fast";
    check.advice = x86 ? "This CPU shows no AVX2, FMA and F16C. In a virtual machine, let it see "
                         "the real CPU (QEMU: -cpu host; libvirt: host-passthrough)."
                       : "There are no fast kernels for this architecture yet.";
  } else if (x86 && findings.best_isa.find("avx512") == std::string::npos) {
    check.status = CheckStatus::kNote;
    check.advice =
        "Decoding is bound by memory and loses little. Long prompts and batches would be faster on "
        "a CPU with AVX-512 VNNI and BF16 (AMD Zen 4, Intel Sapphire Rapids and later)";
    check.advice += facts.virtual_machine ? ", or if the virtual machine hides them." : ".";
  } else if (findings.best_isa == "avx512" || findings.best_isa == "avx512vnni") {
    check.status = CheckStatus::kNote;
    check.advice =
        "BF16 models compute in float32 here: prompts are slower than on a CPU with "
        "AVX-512 BF16. 8-bit formats are not affected.";
    if (findings.best_isa == "avx512") check.advice = "Without VNNI, 8-bit dot products are slow.";
  }
  return check;
}

Check Cores(const MachineFacts& facts, const Findings& findings) {
  Check check = {.name = "cores",
                 .message = fmt::format("{} threads by default: {} physical cores of {} CPUs",
                                        findings.threads, facts.cores_allowed, facts.cpus_online)};
  if (facts.cpu_quota > 0 && facts.cpu_quota < facts.cores_allowed) {
    check.status = CheckStatus::kSlow;
    check.message += fmt::format("; a cgroup allows {:.2f} CPUs", facts.cpu_quota);
    check.advice =
        "Raise the CPU limit of the container or the service (docker --cpus, "
        "Kubernetes resources.limits.cpu, systemd CPUQuota).";
    if (facts.cpu_quota != static_cast<double>(findings.threads)) {
      check.advice += " A fraction of a CPU makes the threads wait for each other.";
    }
  } else if (facts.cpus_allowed < facts.cpus_online) {
    check.status = CheckStatus::kNote;
    check.message +=
        fmt::format("; this process may use {} of them (affinity)", facts.cpus_allowed);
  }
  return check;
}

Check OtherLoad(const Findings& findings) {
  Check check = {
      .name = "load",
      .message = fmt::format("others use {:.0f} % of the CPUs", findings.busy_fraction * 100)};
  if (findings.busy_fraction > kBusy) {
    check.status = CheckStatus::kSlow;
    check.advice =
        "All threads of a step wait for the slowest one: stop what else runs here, or "
        "give inference its own cores (taskset, cpuset) and say --threads.";
  }
  return check;
}

Check Steal(const MachineFacts& facts, const Findings& findings) {
  Check check = {.name = "steal",
                 .message = fmt::format("the hypervisor took {:.1f} % of the CPU time",
                                        findings.stolen_fraction * 100)};
  if (findings.stolen_fraction > 0.02) {
    check.status = CheckStatus::kSlow;
    check.advice =
        "The host is oversubscribed: every stolen moment stops all threads. Ask for "
        "dedicated vCPUs, or use one thread fewer.";
  } else if (!facts.virtual_machine) {
    check.message = "no hypervisor";
  }
  return check;
}

Check Available(const MachineFacts& facts) {
  const uint64_t usable = facts.UsableMemory();
  Check check = {
      .name = "memory",
      .message = fmt::format("{} available of {}", Memory(usable), Memory(facts.memory_total))};
  if (facts.memory_limit > 0) {
    check.status = CheckStatus::kNote;
    check.message += fmt::format("; a cgroup allows {}", Memory(facts.memory_limit));
    check.advice =
        "The limit counts weights and KV cache; raise it where the model does not fit "
        "(docker --memory, resources.limits.memory, MemoryMax).";
  }
  if (usable < 2 * kGiB) {
    check.status = CheckStatus::kSlow;
    check.advice = "Only very small models fit. `inhouse inspect -m MODEL` says what one needs.";
  }
  return check;
}

// The usual formats in bytes per weight; what is left over is for the KV cache and the rest.
Check Fits(const MachineFacts& facts) {
  const double bytes = static_cast<double>(facts.UsableMemory()) * 0.85;
  return {.name = "fits",
          .message = fmt::format("weights of about {:.3g} billion parameters in BF16, {:.3g} in 8 "
                                 "bits, {:.3g} in 4 bits",
                                 bytes / 2 / 1e9, bytes / 1.0625 / 1e9, bytes / 0.5625 / 1e9)};
}

Check Bandwidth(const Findings& findings) {
  const double speed = findings.memory_read_gb_s;
  const double single = findings.memory_read_gb_s_1_thread;
  Check check = {
      .name = "memory-speed",
      .message = fmt::format("{:.1f} GB/s with {} threads, {:.1f} GB/s with one: a model "
                             "reads its active weights once a token, so 1 GB of them "
                             "gives at most {:.0f} tokens/s",
                             speed, findings.threads, single, speed)};
  if (findings.busy_fraction > kBusy) {
    check.status = CheckStatus::kNote;
    check.advice = "Measured while others used the CPUs: look again when they are idle.";
  } else if (findings.threads > 1 && speed < 1.15 * single) {
    check.status = CheckStatus::kNote;
    check.advice =
        "One core already takes what the memory gives: more threads help prompts, not "
        "decoding. Speed comes from more memory channels (all slots filled alike) or "
        "smaller weights (8 or 4 bits).";
  } else if (speed < 20) {
    check.status = CheckStatus::kSlow;
    check.advice =
        "This is slow memory: are all channels fitted with modules, does the virtual "
        "machine share the host? 8-bit and 4-bit weights help most here.";
  }
  return check;
}

Check HugePages(const MachineFacts& facts) {
  Check check = {.name = "huge-pages",
                 .message = fmt::format("transparent huge pages: {}, defrag: {}", facts.thp_enabled,
                                        facts.thp_defrag)};
  if (facts.thp_enabled.empty()) {
    check.status = CheckStatus::kNote;
    check.message = "the kernel does not say whether it has transparent huge pages";
  } else if (facts.thp_enabled == "never") {
    check.status = CheckStatus::kSlow;
    check.advice =
        "Weights lie in 4 KiB pages: the CPU spends time on address translation. As "
        "root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled (kernel "
        "parameter transparent_hugepage=madvise to keep it).";
  } else if (facts.thp_defrag == "never") {
    check.status = CheckStatus::kNote;
    check.advice =
        "Fragmented memory gets no huge pages. As root: echo madvise > "
        "/sys/kernel/mm/transparent_hugepage/defrag";
  }
  if (facts.huge_pages_reserved > 0) {
    check.status = std::max(check.status, CheckStatus::kNote);
    check.message +=
        fmt::format("; {} are reserved for hugetlbfs", Memory(facts.huge_pages_reserved));
    check.advice += check.advice.empty() ? "" : " ";
    check.advice +=
        "inhouse does not use reserved huge pages: free them (vm.nr_hugepages=0) unless "
        "another program needs them.";
  }
  return check;
}

Check Swap(const MachineFacts& facts) {
  Check check = {.name = "swap", .message = "none"};
  if (facts.swap_total == 0) return check;
  check.message = fmt::format("{} of {} used", Memory(facts.swap_used), Memory(facts.swap_total));
  if (facts.swap_used > kGiB / 4) {
    check.status = CheckStatus::kSlow;
    check.advice =
        "Something was swapped out: if it is the model, each token waits for the disk. "
        "Free memory, then swapoff -a && swapon -a.";
  }
  return check;
}

Check Numa(const MachineFacts& facts) {
  const auto with_memory = std::count_if(facts.numa.begin(), facts.numa.end(),
                                         [](const NumaNode& n) { return n.memory_bytes > 0; });
  Check check = {.name = "numa", .message = "one memory node"};
  if (with_memory < 2) return check;
  check.status = CheckStatus::kNote;
  check.message = fmt::format("{} memory nodes", with_memory);
  check.advice =
      "Weights are placed on the node of the threads that read them; a model that fits "
      "on one node runs best there: numactl --cpunodebind=0 --membind=0 inhouse ...";
  if (facts.numa_balancing > 0) {
    check.advice +=
        " Automatic balancing moves pages under running threads: sysctl "
        "kernel.numa_balancing=0.";
  }
  return check;
}

Check Governor(const MachineFacts& facts) {
  Check check = {.name = "frequency",
                 .message = facts.governor.empty() ? "not visible here"
                                                   : fmt::format("governor {}", facts.governor)};
  if (facts.governor == "powersave" || facts.governor == "conservative") {
    check.status = CheckStatus::kNote;
    check.advice =
        "Prompts may be computed below the full clock: cpupower frequency-set -g "
        "performance (with intel_pstate or amd_pstate in active mode the difference is "
        "small).";
  }
  return check;
}

Check Disk(const Findings& findings) {
  if (!findings.store_free.has_value()) {
    return {.name = "store",
            .status = CheckStatus::kSlow,
            .message = fmt::format("{} cannot be reached", findings.store),
            .advice = "Set INHOUSE_HOME to a directory that this user may write."};
  }
  Check check = {
      .name = "store",
      .message = fmt::format(
          "{} free in {}", FormatBytes(static_cast<double>(*findings.store_free)), findings.store)};
  if (*findings.store_free < 10 * kGiB) {
    check.status = CheckStatus::kNote;
    check.advice =
        "Larger models do not fit: `inhouse models rm`, `inhouse models prune`, or set "
        "INHOUSE_HOME to a larger disk.";
  }
  return check;
}

Check OpenFiles(const MachineFacts& facts) {
  Check check = {.name = "open-files",
                 .message = fmt::format("{} at the same time", facts.open_files_max)};
  if (facts.open_files_max < 4096) {
    check.status = CheckStatus::kNote;
    check.advice =
        "Each connection of a server takes one: ulimit -n 65536, or LimitNOFILE= of the "
        "service.";
  }
  return check;
}

}  // namespace

std::vector<Check> CheckMachine(const MachineFacts& facts, const Findings& findings) {
  std::vector<Check> checks = {
      Kernels(facts, findings), Cores(facts, findings), OtherLoad(findings), Steal(facts, findings),
      Governor(facts),          Available(facts),       Fits(facts)};
  if (findings.memory_read_gb_s > 0) checks.push_back(Bandwidth(findings));
  checks.push_back(HugePages(facts));
  checks.push_back(Swap(facts));
  checks.push_back(Numa(facts));
  checks.push_back(Disk(findings));
  checks.push_back(OpenFiles(facts));
  return checks;
}

}  // namespace inhouse::apps
