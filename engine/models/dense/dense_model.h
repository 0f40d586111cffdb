// The dense decoder family: llama, qwen2, qwen3 (transformers:
// models/{llama,qwen2,qwen3}/modeling_*.py).
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "engine/models/architecture.h"
#include "engine/models/model.h"

namespace inhouse::engine {

// A row of the table of architectures.
absl::StatusOr<std::unique_ptr<Model>> BindDense(const Checkpoint& checkpoint,
                                                 const BindOptions& options,
                                                 const Architecture& architecture);

}  // namespace inhouse::engine
