// From the options that users set to those with which a model is bound.
#pragma once

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/models/model.h"

namespace inhouse::engine {

// InvalidArgument that names the field: a level that this CPU lacks, a number of bits that does not
// exist.
absl::StatusOr<BindOptions> BindOptionsOf(const EngineOptions& options);

}  // namespace inhouse::engine
