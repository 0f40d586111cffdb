// What a client is told when something is wrong, as OpenAI spells it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "model-server/http/message.h"

namespace inhouse::model_server {

// {"error":{"message","type","param","code"}} and a status; the official SDKs choose their
// exception by the status.
struct ApiError {
  int status = 400;
  std::string message = {};
  std::string type = "invalid_request_error";
  std::string param = {};         // "" = null
  std::string code = {};          // "" = null
  int retry_after_seconds = 0;    // > 0: Retry-After
  bool retry_is_useless = false;  // x-should-retry: false, for SDKs that would double the load
};

// The common ones.
ApiError InvalidRequest(std::string param, std::string code, std::string message);
ApiError ContextTooLong(int64_t context, int64_t prompt, std::string_view param);
ApiError ModelNotFound(std::string_view model);
ApiError Unavailable(std::string message, int retry_after_seconds);  // 503
ApiError Overloaded(std::string message, int retry_after_seconds);   // 429

// An engine's refusal: what the client can change is a 400, a full queue a 429, draining a 503, the
// rest a 500.
ApiError FromStatus(const absl::Status& status);

std::string ErrorJson(const ApiError& error);
Response ErrorResponse(const ApiError& error);

}  // namespace inhouse::model_server
