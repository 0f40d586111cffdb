// Who asked what kind of thing, when, and how long it took: a line of JSON for each request,
// without any of its content.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "model-server/http/message.h"
#include "model-server/routes/admission.h"
#include "model-server/routes/work_queue.h"

namespace inhouse::model_server {

struct LoggedRequest {
  const Request* request = nullptr;
  const Call* call = nullptr;
  std::string_view route = {};  // the pattern, or "none"
  int status = 0;
  double seconds = 0;
};

// One line of JSON, with its end.
std::string FormatLogLine(const LoggedRequest& entry, int64_t unix_ms);

// Writes on a thread of its own: a slow disk delays nobody. If it cannot keep up, lines are dropped
// and counted in the next one. Thread-safe.
class RequestLog {
 public:
  // "-" = standard error. Appends; readable by the owner only.
  static absl::StatusOr<std::shared_ptr<RequestLog>> Open(const std::string& path);
  ~RequestLog();  // what waits is written

  void Add(const LoggedRequest& entry);
  // After the file was moved away: lines go to a new one of that name.
  absl::Status Reopen();

 private:
  RequestLog(std::string path, int fd);
  void Write(const std::string& line);

  const std::string path_;
  absl::Mutex mutex_;
  int fd_ ABSL_GUARDED_BY(mutex_);
  std::atomic<uint64_t> dropped_ = 0;  // lines since the last that was written
  std::unique_ptr<WorkQueue> writer_;
};

}  // namespace inhouse::model_server
