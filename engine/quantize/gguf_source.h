// A GGUF file's metadata and tensor names, translated into what a Hugging Face directory says.
#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/dense/dense_config.h"
#include "engine/quantize/source.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

struct GgufModel {
  DenseConfig dense;
  nlohmann::ordered_json config;  // config.json

  // The tensor under its Hugging Face name; none for one that config.json speaks of instead
  // (rope_freqs). InvalidArgument for a name that is not known.
  absl::StatusOr<std::optional<SourceTensor>> Translate(const StoredTensor& tensor) const;
};

// InvalidArgument for an architecture that is not llama, qwen2 or qwen3, and for rotary scaling
// that config.json cannot express.
absl::StatusOr<GgufModel> ReadGgufModel(const Checkpoint& checkpoint);

// generation_config.json: the tokens that begin and end a text.
absl::StatusOr<nlohmann::ordered_json> GgufGenerationConfig(const GgufMetadata& gguf);

}  // namespace inhouse::engine
