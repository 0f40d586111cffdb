// What `inhouse bench` measured, as JSON and as tables.
#pragma once

#include <string>
#include <vector>

#include "apps/inhouse/bench/phase.h"
#include "apps/inhouse/bench/runner.h"
#include "engine/engine.h"
#include "engine/runtime/machine_limits.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {

struct PhaseResult {
  Phase phase;
  Cost cost;
  std::vector<double> rates = {};                  // tokens per second, a round each
  std::vector<engine::MachineLimits> limits = {};  // beside each round
  std::vector<engine::StepProfile> profiles = {};  // of each round, if asked for
};

struct BenchRun {
  std::vector<PhaseResult> phases;
  std::vector<std::pair<Phase, std::string>> skipped;  // and why
  double load_seconds = 0;
  int64_t peak_rss_bytes = 0;  // without the buffer of the limits
};

// {"memory_read_gb_s": ..., "dot_gop_s": {"f32": ...}}, and its second part for people: "f32 543,
// bf16 997, int8 2173, int4 2173 Gop/s".
nlohmann::ordered_json LimitsJson(const engine::MachineLimits& limits);
std::string DotsText(const nlohmann::ordered_json& limits);

nlohmann::ordered_json BenchJson(const engine::ModelInfo& model, const BenchRun& run);
// The same object for people, to stdout.
void PrintBench(const nlohmann::ordered_json& json);

}  // namespace inhouse::apps
