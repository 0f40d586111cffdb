// Packed weights in files: where they are looked for, and how a model comes to use them.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/thread_team.h"
#include "engine/engine.h"
#include "engine/formats/packed_file.h"
#include "engine/models/model.h"

namespace inhouse::engine {

// What a file for this model must say. Before its weights are loaded.
PackedHeader DescribePacked(const Checkpoint& checkpoint, const KernelTable& kernels, Model& model);

// Where options.packed_cache has the file for this model, level and layout.
std::string PackedCachePath(const EngineOptions& options, const PackedHeader& wanted);

// Maps the file that `options` names (an error if it does not fit), or one of the cache (passed
// over if it does not fit, which report->problem says). Fills in report->packed if weights are
// mapped.
absl::Status MapPacked(const EngineOptions& options, const Checkpoint& checkpoint,
                       const KernelTable& kernels, base::ThreadTeam& team, Model& model,
                       LoadReport* report);

}  // namespace inhouse::engine
