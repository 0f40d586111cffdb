#include "lifecycle/hub/retry.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <thread>

#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::lifecycle {
namespace {

constexpr int kUnreachableRetries = 3;

// The hub's own explanation, made safe to print.
std::string HubWords(const HttpResponse& response) {
  std::string words = response.Header("x-error-message");
  if (words.empty()) words = response.Header("x-error-code");
  words.resize(std::min<size_t>(words.size(), 300));
  words = base::ReplaceInvalidUtf8(words);
  for (char& c : words) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = ' ';
  }
  return words;
}

}  // namespace

double RetryPolicy::Wait(int attempt, std::optional<double> retry_after) const {
  if (retry_after.has_value()) return *retry_after;
  return std::min(wait_seconds_max, wait_seconds * std::pow(2.0, std::min(attempt - 1, 20)));
}

bool IsTransientStatus(long status) {
  return status == 408 || status == 425 || status == 429 || (status >= 500 && status <= 599);
}

bool SleepUnless(double seconds, const std::function<bool()>& cancelled) {
  using Clock = std::chrono::steady_clock;
  const auto end = Clock::now() + std::chrono::duration<double>(seconds);
  while (true) {
    if (cancelled && cancelled()) return false;
    const auto left = std::chrono::duration<double>(end - Clock::now()).count();
    if (left <= 0) return true;
    std::this_thread::sleep_for(std::chrono::duration<double>(std::min(left, 0.05)));
  }
}

absl::Status HttpStatusError(const HttpResponse& response, const std::string& what,
                             const std::string& token_hint) {
  const std::string words = HubWords(response);
  const std::string said = words.empty() ? "" : fmt::format(" ({})", words);
  const std::string place = PrintableUrl(response.url);
  switch (response.status) {
    case 401:
      return absl::UnauthenticatedError(fmt::format(
          "{}: the hub answered 401{}: it does not exist, or it needs a token. Check the name; {} "
          "[{}]",
          what, said, token_hint, place));
    case 403:
      return absl::PermissionDeniedError(fmt::format(
          "{}: the hub answered 403{}: access is not granted. Accept the licence on the model's "
          "page, and {} [{}]",
          what, said, token_hint, place));
    case 404:
    case 410:
      return absl::NotFoundError(
          fmt::format("{}: the hub answered {}{}: there is no such repository, revision or file "
                      "[{}]",
                      what, response.status, said, place));
    default: {
      const std::string text =
          fmt::format("{}: the hub answered {}{} [{}]", what, response.status, said, place);
      if (IsTransientStatus(response.status)) return absl::UnavailableError(text);
      return absl::InvalidArgumentError(text);
    }
  }
}

absl::StatusOr<ApiResponse> GetApi(HttpClient* client, const ApiRequest& request,
                                   const RetryPolicy& policy,
                                   const std::function<void(const std::string&)>& on_note,
                                   const std::function<bool()>& cancelled) {
  for (int attempt = 1;; ++attempt) {
    ApiResponse response;
    bool too_large = false;
    auto http = client->Get(
        request.http, [](const HttpResponse&) { return true; },
        [&](std::span<const std::byte> bytes) {
          too_large = response.body.size() + bytes.size() > request.bytes_max;
          if (too_large) return false;
          response.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
          return true;
        });
    if (too_large) {
      return absl::ResourceExhaustedError(fmt::format(
          "{}: the hub's answer is larger than {} bytes", request.what, request.bytes_max));
    }
    absl::Status failure = http.status();
    std::optional<double> retry_after;
    if (http.ok()) {
      response.http = *std::move(http);
      if (response.http.status == 200) return response;
      failure = HttpStatusError(response.http, request.what, request.token_hint);
      retry_after = response.http.RetryAfter();
    }
    // Where no hub can be reached at all, as in a closed network, say so soon.
    const int retries = http.ok() ? policy.retries : std::min(policy.retries, kUnreachableRetries);
    if (absl::IsUnavailable(failure) && attempt > retries && !http.ok()) {
      return absl::UnavailableError(base::Message(failure) +
                                    ". Is the hub reachable from here? HF_ENDPOINT or --endpoint "
                                    "names a mirror, --from imports an offline copy.");
    }
    if (!absl::IsUnavailable(failure) || attempt > retries) return failure;
    if (retry_after.value_or(0) > policy.retry_after_max) {
      return absl::UnavailableError(fmt::format("{}; the hub asks to come back in {:.0f} s",
                                                base::Message(failure), *retry_after));
    }
    const double wait = policy.Wait(attempt, retry_after);
    if (on_note) {
      on_note(fmt::format("{}; trying again in {:.1f} s", base::Message(failure), wait));
    }
    if (!SleepUnless(wait, cancelled)) return absl::CancelledError("cancelled");
  }
}

}  // namespace inhouse::lifecycle
