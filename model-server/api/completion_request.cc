#include "model-server/api/completion_request.h"

#include <limits>
#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

constexpr int64_t kInt64Max = std::numeric_limits<int64_t>::max();

void CheckTogether(const ModelBounds& bounds, Fields* fields, const CompletionRequest& request) {
  const auto choices =
      static_cast<int64_t>(request.prompts.size()) * std::max(request.params.n, request.best_of);
  if (choices > bounds.choices_max) {
    fields->Fail(InvalidRequest(
        "prompt", "array_above_max_length",
        fmt::format(
            "Too many answers for one request: expected at most {} prompts x n, but got {}.",
            bounds.choices_max, choices)));
  }
  if (request.params.max_tokens == 0 && !request.echo) {
    fields->Fail(InvalidRequest("max_tokens", "integer_below_min_value",
                                "Invalid 'max_tokens': integer below minimum value. Expected at "
                                "least 1 without 'echo', but got 0 instead."));
  }
  if (request.best_of != 0 && request.best_of < request.params.n) {
    fields->Fail(InvalidRequest("best_of", "invalid_value",
                                "Invalid 'best_of': expected a value of at least 'n'."));
  }
  if (request.best_of > request.params.n && request.params.stream) {
    fields->Fail(InvalidRequest("best_of", "invalid_value",
                                "Invalid 'best_of': answers cannot be ranked while they stream."));
  }
  if (request.params.thinking_budget) {
    fields->Fail(InvalidRequest("thinking_token_budget", "unsupported_parameter",
                                "Unsupported parameter: 'thinking_token_budget'. A text completion "
                                "has no reasoning; use /v1/chat/completions."));
  }
  if (request.suffix && request.echo) {
    fields->Fail(
        InvalidRequest("suffix", "invalid_value", "'suffix' cannot be used together with 'echo'."));
  }
}

}  // namespace

std::optional<ApiError> ReadCompletionRequest(const Json& body, const ModelBounds& bounds,
                                              CompletionRequest* out) {
  Fields fields(body);
  if (fields.Find("model") == nullptr) fields.FailRequired("model");
  fields.Text("model", &out->model);
  ReadPrompts("prompt", bounds.vocab_size, &fields, &out->prompts);
  ReadGenerateParams(bounds, &fields, &out->params);
  out->params.max_tokens = 16;  // OpenAI's default
  fields.Int("max_tokens", 0, kInt64Max, &out->params.max_tokens);
  fields.Bool("echo", &out->echo);
  fields.Int("logprobs", 0, 5, &out->logprobs);
  fields.Int("best_of", 1, kChoicesOfOnePromptMax, &out->best_of);
  fields.Text("suffix", &out->suffix);
  if (out->suffix && out->suffix->empty()) out->suffix.reset();  // "" is what some clients send
  fields.Bool("add_special_tokens", &out->add_special_tokens);
  if (fields.ok()) CheckTogether(bounds, &fields, *out);
  return fields.TakeError();
}

}  // namespace inhouse::model_server
