// When to try again, and how long to wait before.
#pragma once

#include <functional>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lifecycle/hub/http.h"

namespace inhouse::lifecycle {

struct RetryPolicy {
  int retries = 6;               // after the first attempt, without progress in between
  double wait_seconds = 1;       // before the first retry; doubles each time
  double wait_seconds_max = 60;  // of our own choosing
  double retry_after_max = 600;  // a hub that asks for more is told to the user instead

  // Before retry number `attempt` (1, 2, ...); what the hub asked for goes first.
  double Wait(int attempt, std::optional<double> retry_after) const;
};

// 408, 425, 429 and 5xx: the same request may succeed later.
bool IsTransientStatus(long status);

// Sleeps; false if `cancelled` came true.
bool SleepUnless(double seconds, const std::function<bool()>& cancelled);

// What an HTTP error means for the one who pulls, with what to do about it. `what` names the
// repository or the file; the hub's own words (X-Error-Message, X-Error-Code) are taken in.
absl::Status HttpStatusError(const HttpResponse& response, const std::string& what,
                             const std::string& token_hint);

// GET of a small body with retries. Unavailable if the last attempt failed too.
struct ApiRequest {
  HttpRequest http = {};
  std::string what = {};
  std::string token_hint = {};
  size_t bytes_max = 64 << 20;
};
struct ApiResponse {
  HttpResponse http = {};
  std::string body = {};
};
absl::StatusOr<ApiResponse> GetApi(HttpClient* client, const ApiRequest& request,
                                   const RetryPolicy& policy,
                                   const std::function<void(const std::string&)>& on_note,
                                   const std::function<bool()>& cancelled);

}  // namespace inhouse::lifecycle
