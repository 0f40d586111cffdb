// The disk tier of a model's prefixes.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/cache/disk_tier.h"
#include "engine/engine.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/model.h"

namespace inhouse::engine {

// Null if `options` want none. `info` says what computes: the bits of pages depend on it.
absl::StatusOr<std::unique_ptr<DiskTier>> OpenDisk(const EngineOptions& options,
                                                   const Checkpoint& checkpoint,
                                                   const ModelFacts& facts, const ModelInfo& info);

}  // namespace inhouse::engine
