#include "model-server/routes/submit.h"

#include <algorithm>
#include <utility>

namespace inhouse::model_server {

void PostError(const GenerationSetup& setup, ApiError error) {
  setup.context->loop->Post(
      [writer = setup.writer, error = std::move(error)] { writer->Send(ErrorResponse(error)); });
}

std::optional<ApiError> CheckModel(const Context& context, std::string_view model) {
  if (context.model.IsNamed(model)) return std::nullopt;
  return ModelNotFound(model.substr(0, 200));
}

std::optional<ApiError> MakeRequest(const Context& context, const GenerateParams& params,
                                    std::vector<engine::TokenId> ids, std::string_view param,
                                    engine::GenerateRequest* out) {
  const int64_t length = context.model.engine->info().context_tokens;
  const auto prompt = static_cast<int64_t>(ids.size());
  if (ids.empty()) {
    return InvalidRequest(std::string(param), "invalid_value",
                          "Invalid '" + std::string(param) + "': it has no tokens.");
  }
  // A prompt that fills the context can still be scored, with max_tokens 0.
  const int64_t wanted = params.max_tokens.value_or(length);
  if (prompt > length || (prompt == length && wanted > 0)) {
    return ContextTooLong(length, prompt, param);
  }
  out->prompt_ids = std::move(ids);
  out->sampling = params.sampling;
  out->max_tokens = std::min(wanted, length - prompt);
  out->min_tokens = std::min(params.min_tokens, out->max_tokens);
  out->stop = params.stop;
  out->stop_ids = params.stop_ids;
  out->ignore_eos = params.ignore_eos;
  out->include_stop = params.include_stop;
  out->skip_special_tokens = params.skip_special_tokens;
  out->grammar = params.grammar;
  return std::nullopt;
}

void AppendChoices(const engine::GenerateRequest& request, int64_t n,
                   std::vector<engine::GenerateRequest>* out) {
  for (int64_t i = 0; i < n; ++i) {
    out->push_back(request);
    std::optional<uint64_t>& seed = out->back().sampling.seed;
    if (seed) *seed += static_cast<uint64_t>(i);
  }
}

}  // namespace inhouse::model_server
