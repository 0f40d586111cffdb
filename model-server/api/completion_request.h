// POST /v1/completions: JSON -> typed request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "model-server/api/generate_params.h"
#include "model-server/api/prompts.h"

namespace inhouse::model_server {

struct CompletionRequest {
  std::string model = {};
  std::vector<TextOrIds> prompts = {};
  std::optional<std::string> suffix = {};  // fill in the middle
  GenerateParams params = {};
  bool echo = false;                     // the prompt before the answer
  std::optional<int64_t> logprobs = {};  // alternatives for each token
  int64_t best_of = 0;                   // 0: n
  bool add_special_tokens = true;
};

// The errors name the member. `max_tokens` may be 0 only with `echo`.
std::optional<ApiError> ReadCompletionRequest(const Json& body, const ModelBounds& bounds,
                                              CompletionRequest* out);

}  // namespace inhouse::model_server
