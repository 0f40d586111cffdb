// The machinery behind FetchFiles: a few threads that share a list of parts. fetch.cc hands out the
// work, fetch_response.cc speaks HTTP.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "lifecycle/hub/fetch.h"
#include "lifecycle/hub/http.h"
#include "lifecycle/hub/part.h"
#include "lifecycle/hub/pull.h"

namespace inhouse::lifecycle {

// How one request ended, if not well.
struct Failure {
  enum class Kind : uint8_t {
    kNone,
    kTransient,   // try again, a few times
    kSuspicious,  // try once more: a proxy may have been in the way
    kFatal,
    kStale,  // another worker threw the file's content away
  };
  Kind kind = Kind::kNone;
  absl::Status status = absl::OkStatus();
  std::optional<double> retry_after = {};
};

// Runs once. Owned by the thread that calls Run, which is also the only one that speaks to the
// observer.
class Fetcher {
 public:
  Fetcher(const FetchPlan& plan, const PullOptions& options, const PullObserver& observer)
      : plan_(plan), options_(options), observer_(observer) {}

  absl::Status Run(uint64_t* fetched);

 private:
  struct Task {
    Part* part = nullptr;
    size_t range = 0;
    int generation = 0;
  };
  // What one request is for, and what its callbacks find out.
  struct Attempt {
    Part* part = nullptr;
    size_t range = 0;
    int generation = 0;
    uint64_t offset = 0;
    uint64_t end = 0;
    bool asked_range = false;
    bool used_direct = false;
    std::shared_ptr<PartFile> file = {};
    Failure failure = {};
    std::chrono::steady_clock::time_point last_save = std::chrono::steady_clock::now();
  };

  absl::Status Prepare();
  void Work();
  bool TakeTask(Task* task);
  void RunTask(HttpClient* client, Task task);
  Failure RunAttempt(HttpClient* client, Task* task);
  HttpRequest RequestFor(Attempt* attempt) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OnHeaders(const HttpResponse& response, Attempt* attempt);
  Failure CheckHeaders(const HttpResponse& response, Attempt* attempt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Failure AcceptWhole(const HttpResponse& response, Attempt* attempt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Failure AcceptRange(const HttpResponse& response, Attempt* attempt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Failure RefusedStatus(const HttpResponse& response, Attempt* attempt)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  bool OnBody(std::span<const std::byte> bytes, Attempt* attempt);
  absl::Status CountFailure(const Task& task, const Failure& failure, double* wait);
  void SaveState(Part* part);
  void Finish(Part* part);
  void Fail(absl::Status status);
  void Note(std::string text);
  void RelayNotes();
  void ReportBytes();

  bool Stopped() const { return stop_.load(std::memory_order_relaxed); }
  static const std::string& WhereIs(const Part& part) { return part.remote.path; }

  const FetchPlan& plan_;
  const PullOptions& options_;
  const PullObserver& observer_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> fetched_{0};
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Part>> parts_;  // the list is fixed; contents guarded by mutex_
  std::deque<std::string> notes_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point not_before_
      ABSL_GUARDED_BY(mutex_) = {};           // the hub asked for a pause
  size_t first_ ABSL_GUARDED_BY(mutex_) = 0;  // all parts before it are finished
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inhouse::lifecycle
