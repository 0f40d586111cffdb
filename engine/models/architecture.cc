#include "engine/models/architecture.h"

#include <string>

#include "base/status.h"
#include "engine/models/dense/dense_model.h"

namespace inhouse::engine {
namespace {

constexpr Architecture kArchitectures[] = {
    {"llama", "llama", "llama", BindDense},
    {"qwen2", "qwen2", "qwen2", BindDense},
    {"qwen3", "qwen3", "qwen3", BindDense},
};

}  // namespace

std::span<const Architecture> Architectures() { return kArchitectures; }

absl::StatusOr<const Architecture*> FindArchitecture(const Checkpoint& checkpoint) {
  std::string file;
  std::string field;
  std::string value;
  if (checkpoint.gguf) {
    file = checkpoint.gguf->path();
    field = "general.architecture";
    INHOUSE_ASSIGN_OR_RETURN(value, checkpoint.gguf->String(field));
  } else if (checkpoint.config) {
    file = checkpoint.config->path();
    field = "model_type";
    INHOUSE_ASSIGN_OR_RETURN(value, checkpoint.config->String(field));
  } else {
    return base::InvalidInput(
        {.file = checkpoint.path, .expected = "a directory with config.json, or a .gguf file"});
  }
  std::string known;
  for (const Architecture& architecture : kArchitectures) {
    if (value == (checkpoint.gguf ? architecture.gguf : architecture.model_type))
      return &architecture;
    known += (known.empty() ? "" : ", ") + std::string(architecture.name);
  }
  return base::InvalidInput(
      {.file = file, .field = field, .value = value, .expected = "one of " + known});
}

absl::StatusOr<std::unique_ptr<Model>> Model::Bind(const Checkpoint& checkpoint,
                                                   const BindOptions& options) {
  INHOUSE_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(checkpoint));
  return architecture->bind(checkpoint, options, *architecture);
}

}  // namespace inhouse::engine
