// inhouse doctor: what this machine is, what would be slow on it, and what to do about it.
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "apps/inhouse/bench/report.h"
#include "apps/inhouse/checks.h"
#include "apps/inhouse/machine_facts.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"
#include "engine/runtime/machine_limits.h"
#include "fmt/format.h"
#include "lifecycle/hub/staging.h"
#include "lifecycle/registry/names.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using Json = nlohmann::ordered_json;

// The features that some kernel asks for, as /proc/cpuinfo spells them.
constexpr const char* kFeatures[] = {
    "avx2",     "fma",         "f16c",       "avx_vnni",    "avx512f",     "avx512bw", "avx512vl",
    "avx512dq", "avx512_vnni", "avx512vbmi", "avx512_bf16", "avx512_fp16", "amx_tile", "amx_int8",
    "amx_bf16", "asimd",       "asimddp",    "i8mm",        "bf16",        "sve",      "sve2"};

struct Report {
  MachineFacts facts = {};
  Findings findings = {};
  std::vector<std::string> levels = {};
  std::vector<std::string> features = {};
  engine::MachineLimits limits = {};
  bool measured = false;
  std::vector<Check> checks = {};
};

double Fraction(uint64_t part, uint64_t whole) {
  return whole == 0 ? 0 : static_cast<double>(part) / static_cast<double>(whole);
}

// How busy the machine is without us.
void LookAtLoad(Findings* findings) {
  const auto before = ReadCpuTicks();
  std::this_thread::sleep_for(std::chrono::milliseconds(300));
  const auto after = ReadCpuTicks();
  if (!before.has_value() || !after.has_value()) return;
  findings->busy_fraction = Fraction(after->busy - before->busy, after->total() - before->total());
}

void Measure(Report* report) {
  const auto before = ReadCpuTicks();
  Findings& findings = report->findings;
  const engine::IsaLevel level = engine::SupportedLevels().back();
  engine::LimitsProbe all(findings.threads, level);
  engine::LimitsProbe one(1, level);
  for (int round = 0; round < 3 && !Interrupted(); ++round) {
    const engine::MachineLimits limits = all.Sample();
    report->limits.memory_read_gb_s =
        std::max(report->limits.memory_read_gb_s, limits.memory_read_gb_s);
    for (size_t unit = 0; unit < engine::kDotUnits; ++unit) {
      double& most = report->limits.dot_gop_s[unit];
      most = std::max(most, limits.dot_gop_s[unit]);
    }
    findings.memory_read_gb_s_1_thread =
        std::max(findings.memory_read_gb_s_1_thread, one.Sample().memory_read_gb_s);
  }
  findings.memory_read_gb_s = report->limits.memory_read_gb_s;
  const auto after = ReadCpuTicks();
  if (before.has_value() && after.has_value()) {
    findings.stolen_fraction =
        Fraction(after->stolen - before->stolen, after->total() - before->total());
  }
  report->measured = true;
}

Report Examine(bool measure) {
  Report report;
  report.facts = ReadMachineFacts();
  if (report.facts.cpu_model.empty()) report.facts.cpu_model = engine::CpuModel();
  for (const char* feature : kFeatures) {
    if (report.facts.cpu_flags.contains(feature)) report.features.emplace_back(feature);
  }
  for (const engine::IsaLevel level : engine::SupportedLevels()) {
    report.levels.emplace_back(engine::Name(level));
  }
  Findings& findings = report.findings;
  findings.best_isa = report.levels.back();
  findings.threads = base::DefaultThreadCount();
  if (const auto home = lifecycle::StoreHome(); home.ok()) {
    findings.store = *home;
    const auto free = lifecycle::FreeBytes(*home);
    if (free.ok()) findings.store_free = *free;
  }
  LookAtLoad(&findings);
  if (measure) Measure(&report);
  report.checks = CheckMachine(report.facts, findings);
  return report;
}

const char* Name(CheckStatus status) {
  switch (status) {
    case CheckStatus::kGood:
      return "ok";
    case CheckStatus::kNote:
      return "note";
    case CheckStatus::kSlow:
      return "slow";
  }
  return "";
}

Json ToJson(const Report& report) {
  const MachineFacts& facts = report.facts;
  const Findings& findings = report.findings;
  Json numa = Json::array();
  for (const NumaNode& node : facts.numa) {
    numa.push_back({{"node", node.id}, {"cpus", node.cpus}, {"memory_bytes", node.memory_bytes}});
  }
  Json checks = Json::array();
  for (const Check& check : report.checks) {
    checks.push_back({{"name", check.name},
                      {"status", Name(check.status)},
                      {"message", check.message},
                      {"advice", check.advice}});
  }
  Json out = {{"machine",
               {{"cpu", facts.cpu_model},
                {"architecture", facts.architecture},
                {"system", facts.system},
                {"kernel", facts.kernel},
                {"virtual", facts.virtual_machine},
                {"cpus_online", facts.cpus_online},
                {"cpus_allowed", facts.cpus_allowed},
                {"cores_allowed", facts.cores_allowed},
                {"cpu_quota", facts.cpu_quota > 0 ? Json(facts.cpu_quota) : Json(nullptr)},
                {"governor", facts.governor},
                {"features", report.features}}},
              {"kernels", {{"best", findings.best_isa}, {"levels", report.levels}}},
              {"threads", findings.threads},
              {"memory",
               {{"total_bytes", facts.memory_total},
                {"available_bytes", facts.memory_available},
                {"limit_bytes", facts.memory_limit > 0 ? Json(facts.memory_limit) : Json(nullptr)},
                {"swap_total_bytes", facts.swap_total},
                {"swap_used_bytes", facts.swap_used},
                {"huge_pages", {{"enabled", facts.thp_enabled}, {"defrag", facts.thp_defrag}}},
                {"numa", numa}}},
              {"load", {{"busy", findings.busy_fraction}, {"stolen", findings.stolen_fraction}}},
              {"store",
               {{"path", findings.store},
                {"free_bytes",
                 findings.store_free.has_value() ? Json(*findings.store_free) : Json(nullptr)}}}};
  if (report.measured) {
    out["limits"] = LimitsJson(report.limits);
    out["limits"]["memory_read_gb_s_1_thread"] = findings.memory_read_gb_s_1_thread;
  }
  out["checks"] = std::move(checks);
  return out;
}

void Print(const Report& report) {
  const MachineFacts& facts = report.facts;
  std::printf("%s, %d CPUs%s\n%s, Linux %s\n", facts.cpu_model.c_str(), facts.cpus_online,
              facts.virtual_machine ? ", virtual" : "", facts.system.c_str(), facts.kernel.c_str());
  std::printf("features: %s\n", fmt::format("{}", fmt::join(report.features, " ")).c_str());
  if (report.measured) {
    std::printf("peaks with %d threads: %s\n", report.findings.threads,
                DotsText(LimitsJson(report.limits)).c_str());
  }
  std::printf("\n");
  size_t slow = 0;
  for (const Check& check : report.checks) {
    std::string mark = Name(check.status);
    mark.append(4 - mark.size(), ' ');
    if (check.status == CheckStatus::kSlow) {
      mark = Bold(mark, stdout);
      ++slow;
    }
    std::printf("%s  %-12s  %s\n", mark.c_str(), check.name.c_str(), check.message.c_str());
    if (!check.advice.empty()) {
      std::printf("%20s%s\n", "", Dim("-> " + check.advice, stdout).c_str());
    }
  }
  if (slow == 0) {
    std::printf("\nNothing here slows inference down.\n");
  } else {
    std::printf("\n%zu %s inference down: see above.\n", slow,
                slow == 1 ? "thing slows" : "things slow");
  }
}

}  // namespace

VerbRun SetUpDoctor(CLI::App& app) {
  struct Flags {
    bool json = false;
    bool no_measure = false;
  };
  auto flags = std::make_shared<Flags>();
  app.add_flag("--no-measure", flags->no_measure, "only look, do not measure speed (about 1 s)");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags] {
    const Report report = Examine(!flags->no_measure);
    if (Interrupted()) return int{kInterrupted};
    if (flags->json) {
      const std::string text = ToJson(report).dump(-1, ' ', false, Json::error_handler_t::replace);
      std::printf("%s\n", text.c_str());
    } else {
      Print(report);
    }
    return int{kDone};
  };
}

}  // namespace inhouse::apps
