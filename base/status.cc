#include "base/status.h"

#include <cerrno>
#include <system_error>

#include "absl/strings/cord.h"
#include "fmt/format.h"

namespace inhouse::base {
namespace {

constexpr const char* kFileUrl = "inhouse/file";
constexpr const char* kFieldUrl = "inhouse/field";
constexpr size_t kValueBytesMax = 120;

std::optional<std::string> Payload(const absl::Status& status, const char* url) {
  if (auto found = status.GetPayload(url)) return std::string(*found);
  return std::nullopt;
}

absl::StatusCode CodeOf(int error_number) {
  switch (error_number) {
    case ENOENT:
    case ENOTDIR:
      return absl::StatusCode::kNotFound;
    case EACCES:
    case EPERM:
    case EROFS:
      return absl::StatusCode::kPermissionDenied;
    case EEXIST:
      return absl::StatusCode::kAlreadyExists;
    case ENOSPC:
    case EDQUOT:
    case ENOMEM:
    case EMFILE:
    case ENFILE:
      return absl::StatusCode::kResourceExhausted;
    case EISDIR:
    case EINVAL:
      return absl::StatusCode::kInvalidArgument;
    default:
      return absl::StatusCode::kUnavailable;
  }
}

}  // namespace

absl::Status InputError(absl::StatusCode code, const BadInput& bad) {
  std::string text;
  auto part = [&text](std::string_view piece) {
    if (piece.empty()) return;
    if (!text.empty()) text += ": ";
    text += piece;
  };
  part(bad.file);
  part(bad.field);
  if (!bad.value.empty()) {
    std::string value = bad.value.substr(0, kValueBytesMax);
    if (bad.value.size() > kValueBytesMax) value += "...";
    part(fmt::format("value '{}'", value));
  }
  if (!bad.expected.empty()) part(fmt::format("expected {}", bad.expected));
  if (!bad.hint.empty()) text += ". " + bad.hint;
  absl::Status status(code, text);
  if (!bad.file.empty()) status.SetPayload(kFileUrl, absl::Cord(bad.file));
  if (!bad.field.empty()) status.SetPayload(kFieldUrl, absl::Cord(bad.field));
  return status;
}

absl::Status InvalidInput(const BadInput& bad) {
  return InputError(absl::StatusCode::kInvalidArgument, bad);
}

absl::Status OsError(int error_number, std::string_view file, std::string_view action) {
  absl::Status status(CodeOf(error_number),
                      fmt::format("{}: cannot {}: {}", file, action,
                                  std::generic_category().message(error_number)));
  status.SetPayload(kFileUrl, absl::Cord(std::string(file)));
  return status;
}

std::optional<std::string> ErrorFile(const absl::Status& status) {
  return Payload(status, kFileUrl);
}
std::optional<std::string> ErrorField(const absl::Status& status) {
  return Payload(status, kFieldUrl);
}

}  // namespace inhouse::base
