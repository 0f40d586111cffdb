#include <cstdio>
#include <string>

#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

int ExitCodeOf(const absl::Status& status) {
  switch (status.code()) {
    case absl::StatusCode::kCancelled:
      return kInterrupted;
    case absl::StatusCode::kFailedPrecondition:
      return kRefused;  // a policy or a gate said no
    default:
      return kFailed;
  }
}

// "invalid_argument", as gRPC and Abseil spell their codes, in lower case.
std::string CodeName(const absl::Status& status) {
  std::string name = absl::StatusCodeToString(status.code());
  for (char& c : name) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  return name;
}

}  // namespace

int ReportError(const absl::Status& status, bool json) {
  const std::string message = base::Message(status);
  std::fprintf(stderr, "inhouse: %s\n", message.c_str());
  if (json) {
    nlohmann::ordered_json error = {{"code", CodeName(status)}, {"message", message}};
    if (const auto file = base::ErrorFile(status)) error["file"] = *file;
    if (const auto field = base::ErrorField(status)) error["field"] = *field;
    const nlohmann::ordered_json body = {{"error", error}};
    std::printf(
        "%s\n",
        body.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace).c_str());
  }
  return ExitCodeOf(status);
}

}  // namespace inhouse::apps
