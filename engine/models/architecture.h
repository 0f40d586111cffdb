// The explicit table of architectures that the engine knows.
#pragma once

#include <memory>
#include <span>

#include "absl/status/statusor.h"
#include "engine/models/model.h"

namespace inhouse::engine {

struct Architecture {
  const char* name;        // "llama"
  const char* model_type;  // in config.json
  const char* gguf;        // general.architecture
  absl::StatusOr<std::unique_ptr<Model>> (*bind)(const Checkpoint& checkpoint,
                                                 const BindOptions& options,
                                                 const Architecture& architecture);
};

std::span<const Architecture> Architectures();

// The row for a checkpoint, by config.json's model_type or GGUF's general.architecture.
// InvalidArgument that lists the known ones.
absl::StatusOr<const Architecture*> FindArchitecture(const Checkpoint& checkpoint);

}  // namespace inhouse::engine
