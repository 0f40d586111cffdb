#include "model-server/routes/request_log.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <optional>
#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"
#include "model-server/api/json_writer.h"

namespace inhouse::model_server {
namespace {

constexpr size_t kWaitingMax = 10'000;  // lines
constexpr size_t kPathBytesMax = 200;

absl::StatusOr<int> OpenFile(const std::string& path) {
  if (path == "-") return STDERR_FILENO;
  const int fd = open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
  if (fd < 0) return base::OsError(errno, path, "open");
  return fd;
}

std::string TimeText(int64_t unix_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromUnixMillis(unix_ms),
                          absl::UTCTimeZone());
}

}  // namespace

std::string FormatLogLine(const LoggedRequest& entry, int64_t unix_ms) {
  const Call& call = *entry.call;
  JsonWriter json;
  const auto text = [&json](std::string_view key, std::string_view value) {
    json.Key(key);
    if (value.empty()) {
      json.Null();
    } else {
      json.String(base::ReplaceInvalidUtf8(value));
    }
  };
  // Microseconds are enough.
  const auto milliseconds = [&json](std::string_view key, std::optional<double> value) {
    json.Key(key).Raw(value ? fmt::format("{:.3f}", *value) : "null");
  };
  json.BeginObject();
  text("time", TimeText(unix_ms));
  text("request_id", entry.request->id);
  // The address that the guard judged; without a guard, the socket's.
  text("client", call.caller.client.empty() ? entry.request->peer : call.caller.client);
  text("key_id", call.caller.key_id);
  text("key_prefix", call.caller.key_prefix);
  text("tenant", call.caller.tenant);
  if (call.trace != nullptr) text("trace_id", call.trace->trace_id);
  text("method", entry.request->method);
  text("route", entry.route);
  if (entry.route == "none") {
    text("path", TargetPath(entry.request->target).substr(0, kPathBytesMax));
  }
  json.Key("status").Int(entry.status);
  milliseconds("duration_ms", entry.seconds * 1000);
  if (!call.finish_reason.empty()) {
    text("model", call.model);
    text("finish_reason", call.finish_reason);
    json.Key("prompt_tokens").Int(call.prompt_tokens);
    json.Key("cached_tokens").Int(call.cached_tokens);
    json.Key("completion_tokens").Int(call.completion_tokens);
    milliseconds("queue_ms", call.queue_ms);
    milliseconds("first_token_ms", call.first_token_ms);
    milliseconds("decode_ms", call.decode_ms);
  }
  json.EndObject();
  return json.Take() + "\n";
}

RequestLog::RequestLog(std::string path, int fd)
    : path_(std::move(path)), fd_(fd), writer_(std::make_unique<WorkQueue>(kWaitingMax)) {}

absl::StatusOr<std::shared_ptr<RequestLog>> RequestLog::Open(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const int fd, OpenFile(path));
  return std::shared_ptr<RequestLog>(new RequestLog(path, fd));
}

RequestLog::~RequestLog() {
  absl::Notification written;  // a queue drops what waits when it is destroyed
  writer_->AddLast([&written] { written.Notify(); });
  written.WaitForNotification();
  writer_.reset();
  absl::MutexLock lock(&mutex_);
  if (fd_ != STDERR_FILENO) close(fd_);
}

void RequestLog::Add(const LoggedRequest& entry) {
  std::string line = FormatLogLine(entry, absl::ToUnixMillis(absl::Now()));
  if (writer_->Add([this, line = std::move(line)] { Write(line); })) return;
  ++dropped_;
}

void RequestLog::Write(const std::string& line) {
  absl::MutexLock lock(&mutex_);
  const uint64_t dropped = dropped_;
  const std::string text =
      dropped == 0 ? line : fmt::format("{{\"dropped\":{}}}\n", dropped) + line;
  for (size_t at = 0; at < text.size();) {
    const ssize_t size = write(fd_, text.data() + at, text.size() - at);
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) {
      ++dropped_;  // a full disk, most likely; said in the first line that fits again
      return;
    }
    at += static_cast<size_t>(size);
  }
  dropped_ -= dropped;
}

absl::Status RequestLog::Reopen() {
  if (path_ == "-") return absl::OkStatus();
  INHOUSE_ASSIGN_OR_RETURN(const int fd, OpenFile(path_));
  absl::MutexLock lock(&mutex_);
  close(std::exchange(fd_, fd));
  return absl::OkStatus();
}

}  // namespace inhouse::model_server
