// What a checkpoint says about generation: end tokens and sampling defaults.
#pragma once

#include "absl/status/status.h"
#include "engine/engine.h"
#include "engine/formats/checkpoint.h"

namespace inhouse::engine {

// Fills end_tokens and default_sampling from generation_config.json, config.json or GGUF metadata.
// `tokenizer` may be null.
absl::Status ReadModelDefaults(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                               ModelInfo* info);

}  // namespace inhouse::engine
