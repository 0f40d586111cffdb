#include "model-server/api/error.h"

#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {

ApiError InvalidRequest(std::string param, std::string code, std::string message) {
  return {.message = std::move(message), .param = std::move(param), .code = std::move(code)};
}

ApiError ContextTooLong(int64_t context, int64_t prompt, std::string_view param) {
  return InvalidRequest(
      std::string(param), "context_length_exceeded",
      fmt::format("This model's maximum context length is {} tokens. However, your {} resulted in "
                  "{} tokens. Please reduce the length of the {}.",
                  context, param, prompt, param));
}

ApiError ModelNotFound(std::string_view model) {
  ApiError error = InvalidRequest(
      "model", "model_not_found",
      fmt::format("The model `{}` does not exist or you do not have access to it.", model));
  error.status = 404;
  return error;
}

ApiError Unavailable(std::string message, int retry_after_seconds) {
  return {.status = 503,
          .message = std::move(message),
          .type = "unavailable_error",
          .code = "service_unavailable",
          .retry_after_seconds = retry_after_seconds};
}

ApiError Overloaded(std::string message, int retry_after_seconds) {
  ApiError error = {.status = 429,
                    .message = std::move(message),
                    .type = "rate_limit_error",
                    .code = "queue_full",
                    .retry_after_seconds = retry_after_seconds};
  // SDKs retry by themselves; where the wait is longer than their time-out, that only adds load.
  error.retry_is_useless = retry_after_seconds > 120;
  return error;
}

namespace {

// The member of the request that is to blame. A path within a schema ("#/...") is in the message;
// the schema itself is what the status calls its file.
std::string ParamOf(const absl::Status& status) {
  const std::string field = base::ErrorField(status).value_or("");
  if (!field.empty() && !field.starts_with('#')) return field;
  return base::ErrorFile(status).value_or(field);
}

}  // namespace

ApiError FromStatus(const absl::Status& status) {
  const std::string message = base::Message(status);
  switch (status.code()) {
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kUnimplemented:
      return InvalidRequest(ParamOf(status), "invalid_value", message);
    case absl::StatusCode::kResourceExhausted:
      return Overloaded(message, 1);
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kCancelled:
      return Unavailable(message, 5);
    default:
      return {.status = 500, .message = message, .type = "server_error", .code = "internal_error"};
  }
}

std::string ErrorJson(const ApiError& error) {
  const auto text_or_null = [](JsonWriter& json, std::string_view key, const std::string& text) {
    json.Key(key);
    if (text.empty()) {
      json.Null();
    } else {
      json.String(base::ReplaceInvalidUtf8(text));
    }
  };
  JsonWriter json;
  json.BeginObject().Key("error").BeginObject();
  json.Key("message").String(base::ReplaceInvalidUtf8(error.message));
  json.Key("type").String(error.type);
  text_or_null(json, "param", error.param);
  text_or_null(json, "code", error.code);
  json.EndObject().EndObject();
  return json.Take();
}

Response ErrorResponse(const ApiError& error) {
  Response response{.status = error.status, .body = ErrorJson(error)};
  response.headers.Add("Content-Type", "application/json");
  if (error.retry_after_seconds > 0) {
    response.headers.Add("Retry-After", std::to_string(error.retry_after_seconds));
  }
  if (error.status == 401) response.headers.Add("WWW-Authenticate", "Bearer");  // RFC 9110, 11.6.1
  if (error.retry_is_useless) response.headers.Add("x-should-retry", "false");
  return response;
}

}  // namespace inhouse::model_server
