// What chat and text completions share on their way to the engine. On the worker thread.
#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/fields.h"
#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// Sends an error from the worker thread.
void PostError(const GenerationSetup& setup, ApiError error);

// Sends a whole answer from the worker thread.
void PostJson(const GenerationSetup& setup, std::string body);

// Whether the body asks for a model that is served here, and with which of its adapters.
std::optional<ApiError> CheckModel(const ServedModel& served, std::string_view model,
                                   GenerateParams* params);

// The engine's request for one prompt. `param` is what a too long prompt is blamed on; `max_tokens`
// is cut to what the context leaves.
std::optional<ApiError> MakeRequest(const ServedModel& model, const GenerateParams& params,
                                    std::vector<engine::TokenId> ids, std::string_view param,
                                    engine::GenerateRequest* out);

// Asks the engine for what `prompt_logprobs` of the parameters needs.
void AskForPromptLogprobs(const GenerateParams& params, engine::GenerateRequest* request);

// `n` requests for one prompt; with a seed, each gets its own.
void AppendChoices(const engine::GenerateRequest& request, int64_t n,
                   std::vector<engine::GenerateRequest>* out);

}  // namespace inhouse::model_server
