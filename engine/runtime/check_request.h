// What a request may ask of a model.
#pragma once

#include "absl/status/status.h"
#include "engine/engine.h"

namespace inhouse::engine {

// InvalidArgument whose `field` payload names the member of GenerateRequest or SamplingOptions.
// Bounds max_tokens by the context.
absl::Status CheckRequest(const ModelInfo& info, bool has_tokenizer, GenerateRequest* request);

}  // namespace inhouse::engine
