#include "engine/runtime/check_request.h"

#include <algorithm>
#include <cmath>
#include <string>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

absl::Status Bad(const char* field, const std::string& value, const std::string& expected) {
  return base::InvalidInput({.field = field, .value = value, .expected = expected});
}

absl::Status CheckRange(const char* field, float value, float low, float high,
                        const char* expected) {
  if (std::isfinite(value) && value >= low && value <= high) return absl::OkStatus();
  return Bad(field, fmt::format("{}", value), expected);
}

absl::Status CheckSampling(const SamplingOptions& s, int64_t vocab) {
  INHOUSE_RETURN_IF_ERROR(
      CheckRange("temperature", s.temperature, 0, 100, "a number from 0 to 100"));
  INHOUSE_RETURN_IF_ERROR(CheckRange("top_p", s.top_p, 0, 1, "a number from 0 to 1"));
  INHOUSE_RETURN_IF_ERROR(CheckRange("min_p", s.min_p, 0, 1, "a number from 0 to 1"));
  INHOUSE_RETURN_IF_ERROR(CheckRange("repetition_penalty", s.repetition_penalty, 1e-3F, 1e3F,
                                     "a positive number up to 1000"));
  INHOUSE_RETURN_IF_ERROR(
      CheckRange("presence_penalty", s.presence_penalty, -100, 100, "a number from -100 to 100"));
  INHOUSE_RETURN_IF_ERROR(
      CheckRange("frequency_penalty", s.frequency_penalty, -100, 100, "a number from -100 to 100"));
  if (s.top_k < 0) return Bad("top_k", fmt::format("{}", s.top_k), "0 (off) or a positive integer");
  for (const auto& [id, bias] : s.logit_bias) {
    if (id < 0 || id >= vocab) {
      return Bad("logit_bias", fmt::format("{}", id),
                 fmt::format("token ids from 0 to {}", vocab - 1));
    }
    if (!std::isfinite(bias)) return Bad("logit_bias", fmt::format("{}", bias), "finite numbers");
  }
  return absl::OkStatus();
}

absl::Status CheckPrompt(const ModelInfo& info, const GenerateRequest& request) {
  if (request.prompt_ids.empty()) return Bad("prompt", "", "at least one token");
  for (const TokenId id : request.prompt_ids) {
    if (id < 0 || id >= info.vocab_size) {
      return Bad("prompt", fmt::format("{}", id),
                 fmt::format("token ids from 0 to {}", info.vocab_size - 1));
    }
  }
  const auto tokens = static_cast<int64_t>(request.prompt_ids.size());
  if (request.assume_cached < 0 || request.assume_cached >= tokens) {
    return Bad("assume_cached", fmt::format("{}", request.assume_cached),
               fmt::format("an integer from 0 to {}", tokens - 1));
  }
  const int64_t room = info.context_tokens - (request.max_tokens > 0 ? 1 : 0);
  if (tokens > room) {
    return base::InputError(
        absl::StatusCode::kOutOfRange,
        {.field = "prompt",
         .value = fmt::format("{} tokens", tokens),
         .expected = fmt::format("at most {}: this model's context has {} tokens", room,
                                 info.context_tokens)});
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status CheckRequest(const ModelInfo& info, bool has_tokenizer, GenerateRequest* request) {
  if (request->pooling) request->max_tokens = 0;  // the prompt may fill the whole context
  INHOUSE_RETURN_IF_ERROR(CheckPrompt(info, *request));
  INHOUSE_RETURN_IF_ERROR(CheckSampling(request->sampling, info.vocab_size));
  if (request->max_tokens < 0) {
    return Bad("max_tokens", fmt::format("{}", request->max_tokens), "0 or a positive integer");
  }
  if (request->min_tokens < 0) {
    return Bad("min_tokens", fmt::format("{}", request->min_tokens), "0 or a positive integer");
  }
  if (request->logprobs < -1 || request->logprobs > 20) {
    return Bad("logprobs", fmt::format("{}", request->logprobs), "an integer from 0 to 20");
  }
  for (const std::vector<TokenId>* ids :
       {&request->allowed_ids,
        request->thinking_budget ? &request->thinking_budget->end : nullptr}) {
    if (ids == nullptr) continue;
    for (const TokenId id : *ids) {
      if (id >= 0 && id < info.vocab_size) continue;
      return Bad(ids == &request->allowed_ids ? "allowed_token_ids" : "thinking_token_budget",
                 fmt::format("{}", id), fmt::format("token ids from 0 to {}", info.vocab_size - 1));
    }
  }
  if (!request->stop.empty() && !has_tokenizer) {
    return Bad("stop", request->stop.front(), "no stop strings: this checkpoint has no tokenizer");
  }
  const int64_t room = info.context_tokens - static_cast<int64_t>(request->prompt_ids.size());
  request->max_tokens = std::min(request->max_tokens, room);
  return absl::OkStatus();
}

}  // namespace inhouse::engine
