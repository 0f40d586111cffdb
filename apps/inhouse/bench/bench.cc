// inhouse bench: whole-model speed, beside the limits of the machine measured in the same run.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/bench/phase.h"
#include "apps/inhouse/bench/report.h"
#include "apps/inhouse/bench/runner.h"
#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "engine/kernels/kernel_table.h"
#include "engine/runtime/machine_limits.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

// Pages are given out whole; no sequence wastes more than this.
constexpr int64_t kPageSlack = 256;
constexpr int64_t kWarmUpTokens = 8;

struct BenchFlags {
  engine::EngineOptions engine;
  int64_t prompt_tokens = 512;
  int64_t generate_tokens = 128;
  std::vector<int64_t> depths = {0};
  std::vector<int> batches = {1};
  int repeat = 5;
  bool kernels = false;
  bool json = false;
};

std::vector<Phase> PhasesOf(const BenchFlags& flags) {
  std::vector<Phase> phases;
  if (flags.prompt_tokens > 0) phases.push_back({Phase::Kind::kPrefill, flags.prompt_tokens, 1, 0});
  if (flags.generate_tokens == 0) return phases;
  for (const int64_t depth : flags.depths) {
    for (const int batch : flags.batches) {
      phases.push_back({Phase::Kind::kDecode, flags.generate_tokens, batch, depth});
    }
  }
  return phases;
}

// Room for the largest phase, as far as memory allows.
engine::EngineOptions OptionsFor(const BenchFlags& flags, const std::vector<Phase>& phases) {
  engine::EngineOptions options = flags.engine;
  options.need_tokenizer = false;
  options.prefix_cache = false;  // every run computes its whole prompt
  options.profile = flags.kernels;
  options.max_sequences = 1;
  int64_t longest = 0;
  for (const Phase& phase : phases) {
    const int64_t length = phase.depth + phase.tokens + 2;
    longest = std::max(longest, length);
    options.max_sequences = std::max(options.max_sequences, phase.batch);
    options.kv_tokens = std::max(options.kv_tokens, phase.batch * (length + kPageSlack));
  }
  if (options.context_tokens == 0) options.context_tokens = longest;
  return options;
}

int64_t PeakRss() {
  struct rusage usage = {};
  getrusage(RUSAGE_SELF, &usage);
  return int64_t{usage.ru_maxrss} * 1024;
}

// All phases in turn, again and again, each between two samples of the limits: the machine's speed
// drifts. The first round warms up.
absl::Status Measure(engine::Engine& engine, const BenchFlags& flags, engine::LimitsProbe& probe,
                     BenchRun* run) {
  ProgressBar bar("bench", ProgressBar::Unit::kCount);
  const size_t total = run->phases.size() * static_cast<size_t>(flags.repeat + 1);
  size_t done = 0;
  for (int round = 0; round <= flags.repeat; ++round) {
    for (PhaseResult& result : run->phases) {
      Phase phase = result.phase;
      if (round == 0 && !phase.prefill()) phase.tokens = std::min(phase.tokens, kWarmUpTokens);
      const engine::MachineLimits before = probe.Sample();
      INHOUSE_ASSIGN_OR_RETURN(const PhaseRun measured, RunPhase(engine, phase));
      const engine::MachineLimits after = probe.Sample();
      bar.Set(++done, total);
      if (Interrupted()) return absl::CancelledError("interrupted");
      if (round == 0) continue;
      result.rates.push_back(measured.tokens_per_second);
      result.limits.push_back(engine::MedianOf({before, after}));
      if (flags.kernels) result.profiles.push_back(measured.profile);
    }
  }
  return absl::OkStatus();
}

absl::Status RunBench(const BenchFlags& flags) {
  const std::vector<Phase> phases = PhasesOf(flags);
  BenchRun run;
  const auto start = std::chrono::steady_clock::now();
  INHOUSE_ASSIGN_OR_RETURN(const auto engine, LoadEngine(OptionsFor(flags, phases)));
  run.load_seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const engine::ModelInfo& info = engine->info();
  for (const Phase& phase : phases) {
    const std::string why = WhyNot(info, phase);
    if (why.empty()) {
      run.phases.push_back({phase, CostOf(info, phase, flags.engine.prefill_chunk)});
    } else {
      run.skipped.emplace_back(phase, why);
    }
  }
  run.peak_rss_bytes = PeakRss();
  engine::LimitsProbe probe(info.threads, engine::ChooseTable(info.isa)->level);
  INHOUSE_RETURN_IF_ERROR(Measure(*engine, flags, probe, &run));
  run.peak_rss_bytes = std::max(run.peak_rss_bytes, PeakRss() - probe.buffer_bytes());
  const auto json = BenchJson(info, run);
  if (flags.json) {
    std::printf("%s\n", json.dump().c_str());
  } else {
    PrintBench(json);
  }
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpBench(CLI::App& app) {
  auto flags = std::make_shared<BenchFlags>();
  AddEngineFlags(app, &flags->engine);
  app.add_option_function<std::vector<std::string>>(
         "--adapter",
         [flags](const std::vector<std::string>& paths) {
           for (const std::string& path : paths) {
             flags->engine.adapters.push_back(
                 {fmt::format("adapter{:03}", flags->engine.adapters.size()), path});
           }
           flags->engine.adapters_max = static_cast<int>(flags->engine.adapters.size());
         },
         "a LoRA adapter (PEFT directory); may be repeated: the sequences take them in turns")
      ->allow_extra_args(false);
  app.add_option("--prompt-tokens", flags->prompt_tokens,
                 "length of the prompt of the prefill phase; 0 = no such phase")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 24));
  AddPrefillChunk(app, &flags->engine);
  app.add_option("--generate-tokens", flags->generate_tokens,
                 "tokens that each sequence generates; 0 = no such phase")
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--batch", flags->batches, "sequences that decode together: 1,2,4,8,16,32")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(1, 1024));
  app.add_option("--depth", flags->depths,
                 "tokens in the cache of each sequence before it decodes: 0,1024,16384")
      ->delimiter(',')
      ->capture_default_str()
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--repeat", flags->repeat, "measured rounds after a warm-up")
      ->capture_default_str()
      ->check(CLI::Range(1, 1000));
  app.add_flag("--kernels", flags->kernels,
               "also where the time of a step goes, by kind of kernel");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags] {
    const absl::Status status = RunBench(*flags);
    return status.ok() ? int{kDone} : ReportError(status, flags->json);
  };
}

}  // namespace inhouse::apps
