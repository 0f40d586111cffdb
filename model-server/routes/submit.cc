#include "model-server/routes/submit.h"

#include <algorithm>
#include <utility>

namespace inhouse::model_server {

void PostError(const GenerationSetup& setup, ApiError error) {
  setup.context->loop->Post(
      [writer = setup.writer, error = std::move(error)] { writer->Send(ErrorResponse(error)); });
}

void PostJson(const GenerationSetup& setup, std::string body) {
  setup.context->loop->Post([writer = setup.writer, body = std::move(body)] {
    Response response{.body = body};
    response.headers.Add("Content-Type", "application/json");
    writer->Send(std::move(response));
  });
}

std::optional<ApiError> CheckModel(const ServedModel& served, std::string_view model,
                                   GenerateParams* params) {
  if (served.IsNamed(model)) return std::nullopt;
  if (auto adapter = served.FindAdapter(model)) {
    params->adapter = std::move(adapter->name);
    params->adapter_fingerprint = adapter->fingerprint.substr(0, 8);
    return std::nullopt;
  }
  return ModelNotFound(model.substr(0, 200));
}

namespace {

// A word at the start of a text and the same word behind another, as vLLM bars them.
void AddBadWord(const engine::Tokenizer& tokenizer, const std::string& word,
                std::vector<std::vector<engine::TokenId>>* out) {
  const engine::EncodeOptions plain{.parse_special = false};
  const std::string stripped = word.substr(std::min(word.find_first_not_of(' '), word.size()));
  const std::vector<engine::TokenId> first = tokenizer.Encode(stripped, plain);
  const std::vector<engine::TokenId> behind = tokenizer.Encode(" " + stripped, plain);
  if (!first.empty()) out->push_back(first);
  if (behind.size() == first.size() && !first.empty() && behind.front() != first.front()) {
    out->push_back(behind);
  }
}

}  // namespace

std::optional<ApiError> MakeRequest(const ServedModel& model, const GenerateParams& params,
                                    std::vector<engine::TokenId> ids, std::string_view param,
                                    engine::GenerateRequest* out) {
  const int64_t length = model.engine->info().context_tokens;
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
  out->adapter = params.adapter;
  out->sampling = params.sampling;
  out->max_tokens = std::min(wanted, length - prompt);
  out->min_tokens = std::min(params.min_tokens, out->max_tokens);
  out->stop = params.stop;
  out->stop_ids = params.stop_ids;
  out->allowed_ids = params.allowed_ids;
  for (const std::string& word : params.bad_words) {
    AddBadWord(*model.engine->tokenizer(), word, &out->bad_sequences);
  }
  out->ignore_eos = params.ignore_eos;
  out->include_stop = params.include_stop;
  out->priority = params.priority;
  out->cache_salt = params.cache_salt;
  out->skip_special_tokens = params.skip_special_tokens;
  out->grammar = params.grammar;
  return std::nullopt;
}

void AskForPromptLogprobs(const GenerateParams& params, engine::GenerateRequest* request) {
  if (!params.prompt_logprobs) return;
  request->prompt_logprobs = true;
  request->logprobs = std::max(request->logprobs, static_cast<int>(*params.prompt_logprobs));
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
