// Runs phases on an engine and times their tokens.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "apps/inhouse/bench/phase.h"
#include "engine/engine.h"

namespace inhouse::apps {

struct PhaseRun {
  double tokens_per_second = 0;  // of the whole batch
  engine::StepProfile profile;   // if the engine makes one
};

// One run: random but fixed ids, greedy. What stands in the cache before is not computed but
// assumed (GenerateRequest::assume_cached): attention costs the same whatever the numbers are, and
// 32 prompts of 16k tokens would take hours.
absl::StatusOr<PhaseRun> RunPhase(engine::Engine& engine, const Phase& phase);

}  // namespace inhouse::apps
