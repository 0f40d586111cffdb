// A checkpoint as it lies on disk: weights plus what the files say about the model, before any
// architecture is known.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/config_json.h"
#include "engine/formats/gguf.h"
#include "engine/formats/tensor_table.h"

namespace inhouse::engine {

// Opens either form:
//  - a directory with config.json and *.safetensors (one file, or shards with
//  model.safetensors.index.json); also
//    directories without weights are opened when `need_weights` is false (a tokenizer-only
//    directory has no config.json);
//  - a .gguf file, or the first file of a split one (the others are found beside it).
// Immutable after Open; any thread may read. Tensors are views of the maps, which the checkpoint
// owns.
struct Checkpoint {
  std::string path;
  std::optional<ConfigJson> config;             // config.json (Hugging Face form)
  std::optional<ConfigJson> generation_config;  // generation_config.json, if there
  std::optional<GgufMetadata> gguf;             // key-values (GGUF form)
  TensorTable tensors;

  static absl::StatusOr<std::unique_ptr<Checkpoint>> Open(const std::string& path,
                                                          bool need_weights = true);
};

}  // namespace inhouse::engine
