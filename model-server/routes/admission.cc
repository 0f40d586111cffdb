#include "model-server/routes/admission.h"

#include <algorithm>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

// Beyond this the official SDKs do not wait for Retry-After, so a retry would only add load.
constexpr int64_t kWaitMaxSeconds = 120;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && text.front() == ' ') text.remove_prefix(1);
  while (!text.empty() && text.back() == ' ') text.remove_suffix(1);
  return text;
}

// `Authorization: Bearer KEY` (OpenAI) or `x-api-key: KEY` (Anthropic).
std::string_view Credential(const Headers& headers) {
  constexpr std::string_view kBearer = "bearer ";
  const std::string_view authorization = headers.Find("authorization");
  if (authorization.size() > kBearer.size() &&
      std::equal(kBearer.begin(), kBearer.end(), authorization.begin(), [](char a, char b) {
        return a == static_cast<char>(b >= 'A' && b <= 'Z' ? b - 'A' + 'a' : b);
      })) {
    return Trim(authorization.substr(kBearer.size()));
  }
  return Trim(headers.Find("x-api-key"));
}

// "6m0s", "1.5s", "20ms": Go's way to print durations, which OpenAI uses here.
std::string DurationText(absl::Duration duration) {
  const int64_t ms = absl::ToInt64Milliseconds(absl::Ceil(duration, absl::Milliseconds(1)));
  if (ms < 1000) return fmt::format("{}ms", ms);
  const int64_t seconds = (ms + 999) / 1000;
  std::string text;
  if (seconds >= 3600) text += fmt::format("{}h", seconds / 3600);
  if (seconds >= 60) text += fmt::format("{}m", seconds / 60 % 60);
  return text + fmt::format("{}s", seconds % 60);
}

ApiError LimitError(const guard::Denial& denial) {
  const guard::Refusal& refusal = *denial.refusal;
  const bool of_day = refusal.limit == guard::Limit::kRequestsPerDay ||
                      refusal.limit == guard::Limit::kTokensPerDay;
  ApiError error{.status = 429,
                 .message = denial.message,
                 .type = "rate_limit_error",
                 .code = of_day ? "insufficient_quota" : "rate_limit_exceeded"};
  if (refusal.wait == absl::InfiniteDuration()) {
    error.retry_is_useless = true;
    return error;
  }
  const int64_t seconds =
      std::max<int64_t>(absl::ToInt64Seconds(absl::Ceil(refusal.wait, absl::Seconds(1))), 1);
  error.retry_after_seconds = static_cast<int>(seconds);
  error.retry_is_useless = seconds > kWaitMaxSeconds;
  error.message += fmt::format(" Try again in {}.", DurationText(refusal.wait));
  return error;
}

}  // namespace

guard::Admission AskGuard(const guard::Guard& guard, const Request& request, guard::Scope scope,
                          bool counts) {
  return guard.Admit({.peer = request.peer,
                      .x_forwarded_for = request.headers.FindAll("x-forwarded-for"),
                      .forwarded = request.headers.FindAll("forwarded"),
                      .credential = Credential(request.headers),
                      .scope = scope,
                      .counts = counts});
}

ApiError DenialError(const guard::Denial& denial) {
  using guard::DenialKind;
  ApiError error{.status = 403, .message = denial.message};
  switch (denial.kind) {
    case DenialKind::kAddress:
    case DenialKind::kKeyAddress:
      error.type = "permission_error";
      error.code = "ip_not_allowed";
      break;
    case DenialKind::kNoKey:
    case DenialKind::kWrongKey:
      error.status = 401;
      error.type = "authentication_error";
      error.code = "invalid_api_key";
      break;
    case DenialKind::kScope:
      error.type = "permission_error";
      error.code = "insufficient_permissions";
      break;
    case DenialKind::kModel:
      error.type = "permission_error";
      error.code = "model_not_allowed";
      error.param = "model";
      break;
    case DenialKind::kLimit:
      return LimitError(denial);
  }
  return error;
}

void AddRateHeaders(const guard::Rates& rates, Headers* headers) {
  const auto add = [headers](const std::optional<guard::Room>& room, std::string_view what) {
    if (!room) return;
    headers->Add(fmt::format("x-ratelimit-limit-{}", what), std::to_string(room->limit));
    headers->Add(fmt::format("x-ratelimit-remaining-{}", what), std::to_string(room->remaining));
    headers->Add(fmt::format("x-ratelimit-reset-{}", what), DurationText(room->reset));
  };
  add(rates.requests, "requests");
  add(rates.tokens, "tokens");
}

std::optional<ApiError> TakeModelAndTokens(const Call& call, std::string_view model,
                                           int64_t tokens) {
  if (call.pass == nullptr) return std::nullopt;
  if (!call.pass->MayUse(model)) {
    return DenialError(
        {.kind = guard::DenialKind::kModel,
         .message = fmt::format("This API key may not use the model `{}`.", model.substr(0, 200))});
  }
  const auto denial = call.pass->TakeTokens(tokens);
  return denial ? std::make_optional(DenialError(*denial)) : std::nullopt;
}

}  // namespace inhouse::model_server
