// The guard as HTTP sees it: where a key and an address stand in a request, and how a refusal is
// worded.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "guard/guard.h"
#include "model-server/api/error.h"
#include "model-server/http/message.h"
#include "model-server/routes/request_trace.h"

namespace inhouse::model_server {

// One request from the door to the log. Belongs to the io thread, except for `pass`.
struct Call {
  guard::Caller caller = {};
  std::shared_ptr<const guard::Pass> pass = {};  // null: there is no guard
  std::shared_ptr<RequestTrace> trace = {};      // null: not traced
  std::string model = {};
  std::string finish_reason = {};  // of the first sequence
  int64_t prompt_tokens = 0;
  int64_t cached_tokens = 0;
  int64_t completion_tokens = 0;
  std::optional<double> queue_ms = {};
  std::optional<double> first_token_ms = {};  // from the arrival
  double decode_ms = 0;
};

// `counts`: see guard::Attempt.
guard::Admission AskGuard(const guard::Guard& guard, const Request& request, guard::Scope scope,
                          bool counts);

// 401, 403 or 429, with Retry-After where waiting helps.
ApiError DenialError(const guard::Denial& denial);

// x-ratelimit-{limit,remaining,reset}-{requests,tokens}, as OpenAI's clients read them.
void AddRateHeaders(const guard::Rates& rates, Headers* headers);

// Whether the caller may use `model`, and has `tokens` left for the prompt (which are then taken).
// Any thread. Every route that makes the engine work asks before it does; Generation does for its
// kinds of answers.
std::optional<ApiError> TakeModelAndTokens(const Call& call, std::string_view model,
                                           int64_t tokens);

}  // namespace inhouse::model_server
