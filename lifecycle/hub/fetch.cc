#include "lifecycle/hub/fetch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <chrono>
#include <deque>
#include <optional>
#include <thread>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/digest.h"
#include "lifecycle/hub/part.h"
#include "lifecycle/hub/staging.h"

namespace inhouse::lifecycle {
namespace {

using Clock = std::chrono::steady_clock;

// Less than this between two failures is not progress: a hub that sends a byte and hangs up must
// not keep us for ever.
constexpr uint64_t kProgressBytes = 64 << 10;
constexpr int kSuspiciousAttemptsMax = 2;
constexpr int kRestartsMax = 5;
constexpr auto kSaveInterval = std::chrono::seconds(3);

// A validator that may stand in If-Range (RFC 9110, 13.1.5): not a weak one.
bool IsStrong(const std::string& etag) { return !etag.empty() && !etag.starts_with("W/"); }

struct ContentRange {
  uint64_t begin = 0;
  uint64_t last = 0;
  std::optional<uint64_t> total = {};
};

// "bytes 0-99/1234"
std::optional<ContentRange> ParseContentRange(const std::string& text) {
  ContentRange range;
  if (!text.starts_with("bytes ")) return {};
  const char* at = text.data() + 6;
  const char* const end = text.data() + text.size();
  const auto number = [&](uint64_t* value, char after) {
    const auto [next, error] = std::from_chars(at, end, *value);
    if (error != std::errc() || (after != '\0' && (next == end || *next != after))) return false;
    at = next + (after != '\0' ? 1 : 0);
    return true;
  };
  if (!number(&range.begin, '-') || !number(&range.last, '/') || range.last < range.begin)
    return {};
  if (std::string_view(at, static_cast<size_t>(end - at)) == "*") return range;
  uint64_t total = 0;
  if (!number(&total, '\0') || at != end) return {};
  range.total = total;
  return range;
}

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
    Clock::time_point last_save = Clock::now();
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
  std::string WhereIs(const Part& part) const { return part.remote.path; }

  const FetchPlan& plan_;
  const PullOptions& options_;
  const PullObserver& observer_;
  std::atomic<bool> stop_{false};
  std::atomic<uint64_t> fetched_{0};
  absl::Mutex mutex_;
  std::vector<std::unique_ptr<Part>> parts_;  // the list is fixed; contents guarded by mutex_
  std::deque<std::string> notes_ ABSL_GUARDED_BY(mutex_);
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  Clock::time_point not_before_ ABSL_GUARDED_BY(mutex_) = {};  // the hub asked for a pause
  size_t unfinished_ ABSL_GUARDED_BY(mutex_) = 0;
};

Failure Transient(std::string text) {
  return {.kind = Failure::Kind::kTransient, .status = absl::UnavailableError(text)};
}
Failure Suspicious(std::string text) {
  return {.kind = Failure::Kind::kSuspicious, .status = absl::DataLossError(text)};
}
Failure Fatal(absl::Status status) {
  return {.kind = Failure::Kind::kFatal, .status = std::move(status)};
}

absl::Status Fetcher::Prepare() {
  const absl::MutexLock lock(&mutex_);
  for (const RemoteFile& remote : plan_.files) {
    auto part = std::make_unique<Part>();
    part->remote = remote;
    part->part_path = plan_.parts_directory + "/" + remote.path + ".part";
    part->state_path = plan_.parts_directory + "/" + remote.path + ".state";
    part->final_path = plan_.files_directory + "/" + remote.path;
    struct stat info = {};
    if (stat(part->final_path.c_str(), &info) == 0) {
      part->state = Part::State::kFinished;
    } else {
      ++unfinished_;
    }
    parts_.push_back(std::move(part));
  }
  return absl::OkStatus();
}

absl::Status Fetcher::Run(uint64_t* fetched) {
  INHOUSE_RETURN_IF_ERROR(Prepare());
  std::vector<std::thread> workers;
  const size_t jobs = static_cast<size_t>(std::clamp(options_.jobs, 1, 64));
  for (size_t i = 0; i < jobs; ++i) workers.emplace_back([this] { Work(); });
  while (true) {
    {
      const absl::MutexLock lock(&mutex_);
      if (unfinished_ == 0 || Stopped()) break;
    }
    RelayNotes();
    ReportBytes();
    if (observer_.cancelled && observer_.cancelled()) Fail(absl::CancelledError("cancelled"));
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  for (std::thread& worker : workers) worker.join();
  RelayNotes();
  ReportBytes();
  *fetched += fetched_.load();
  const absl::MutexLock lock(&mutex_);
  return error_;
}

void Fetcher::Work() {
  HttpClient client(
      {.stall_seconds = options_.stall_seconds, .cancelled = [this] { return Stopped(); }});
  Task task;
  while (TakeTask(&task)) RunTask(&client, task);
}

// The first range that may start now; waits for one. False when there is nothing more to do.
bool Fetcher::TakeTask(Task* task) {
  while (!Stopped()) {
    {
      const absl::MutexLock lock(&mutex_);
      if (unfinished_ == 0) return false;
      for (const auto& part : parts_) {
        if (part->state == Part::State::kWaiting) {
          if (const absl::Status status = part->Open(options_.range_bytes); !status.ok()) {
            error_ = status;
            stop_ = true;
            return false;
          }
        }
        if (part->state != Part::State::kOpen) continue;
        const bool any_busy = std::any_of(part->ranges.begin(), part->ranges.end(),
                                          [](const PartRange& r) { return r.busy; });
        if (any_busy && !part->ranges_work) continue;
        if (!any_busy && part->Complete()) {  // empty, or complete since the last attempt
          part->state = Part::State::kVerifying;
          *task = {.part = part.get(), .range = SIZE_MAX, .generation = part->generation};
          return true;
        }
        for (size_t i = 0; i < part->ranges.size(); ++i) {
          if (part->ranges[i].busy || part->ranges[i].complete()) continue;
          part->ranges[i].busy = true;
          *task = {.part = part.get(), .range = i, .generation = part->generation};
          return true;
        }
      }
    }
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  return false;
}

void Fetcher::RunTask(HttpClient* client, Task task) {
  if (task.range == SIZE_MAX) return Finish(task.part);
  while (!Stopped()) {
    Clock::time_point not_before;
    {
      const absl::MutexLock lock(&mutex_);
      not_before = not_before_;
    }
    const double pause = std::chrono::duration<double>(not_before - Clock::now()).count();
    if (!SleepUnless(pause, [this] { return Stopped(); })) return;
    const Failure failure = RunAttempt(client, &task);
    SaveState(task.part);
    double wait = 0;
    switch (failure.kind) {
      case Failure::Kind::kStale:
        return;
      case Failure::Kind::kNone: {
        const absl::MutexLock lock(&mutex_);
        if (task.part->generation == task.generation) {
          task.part->ranges[task.range].busy = false;
        }
        return;
      }
      case Failure::Kind::kFatal:
        return Fail(failure.status);
      case Failure::Kind::kTransient:
      case Failure::Kind::kSuspicious:
        if (const absl::Status fatal = CountFailure(task, failure, &wait); !fatal.ok()) {
          return Fail(fatal);
        }
        if (!SleepUnless(wait, [this] { return Stopped(); })) return;
        break;
    }
    const absl::MutexLock lock(&mutex_);
    if (task.part->generation != task.generation) return;
  }
}

HttpRequest Fetcher::RequestFor(Attempt* attempt) {
  const Part& part = *attempt->part;
  const PartRange& range = part.ranges[attempt->range];
  attempt->offset = range.begin + range.done;
  attempt->end = range.end;
  attempt->file = part.file;
  attempt->used_direct = !part.direct.empty();
  HttpRequest request = {.url = part.direct.empty() ? part.remote.url : part.direct,
                         .headers = {"Accept-Encoding: identity"},
                         .credential = plan_.credential};
  attempt->asked_range = part.ranges.size() > 1 || attempt->offset > 0;
  if (attempt->asked_range) {
    request.headers.push_back(fmt::format("Range: bytes={}-{}", attempt->offset, range.end - 1));
    if (IsStrong(part.etag)) request.headers.push_back("If-Range: " + part.etag);
  }
  return request;
}

Failure Fetcher::RunAttempt(HttpClient* client, Task* task) {
  Attempt attempt = {.part = task->part, .range = task->range, .generation = task->generation};
  HttpRequest request;
  {
    const absl::MutexLock lock(&mutex_);
    if (task->part->generation != task->generation) return {.kind = Failure::Kind::kStale};
    request = RequestFor(&attempt);
  }
  const auto response = client->Get(
      request, [&](const HttpResponse& head) { return OnHeaders(head, &attempt); },
      [&](std::span<const std::byte> bytes) { return OnBody(bytes, &attempt); });
  task->generation = attempt.generation;  // AcceptWhole may have begun a new one
  task->range = attempt.range;
  if (attempt.failure.kind != Failure::Kind::kNone) return attempt.failure;
  const absl::MutexLock lock(&mutex_);
  Part& part = *task->part;
  if (part.generation != task->generation) return {.kind = Failure::Kind::kStale};
  if (part.ranges[task->range].complete()) return {};
  if (attempt.used_direct) part.direct.clear();
  if (response.ok()) return Transient(fmt::format("{}: the hub sent too few bytes", WhereIs(part)));
  if (absl::IsCancelled(response.status())) return Fatal(response.status());
  const std::string text = fmt::format("{}: {}", WhereIs(part), base::Message(response.status()));
  if (absl::IsUnavailable(response.status())) return Transient(text);
  return Fatal(absl::Status(response.status().code(), text));
}

bool Fetcher::OnHeaders(const HttpResponse& response, Attempt* attempt) {
  const absl::MutexLock lock(&mutex_);
  if (attempt->part->generation != attempt->generation) {
    attempt->failure.kind = Failure::Kind::kStale;
  } else {
    attempt->failure = CheckHeaders(response, attempt);
  }
  return attempt->failure.kind == Failure::Kind::kNone;
}

Failure Fetcher::CheckHeaders(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  if (response.status != 200 && response.status != 206) return RefusedStatus(response, attempt);
  const std::string encoding = response.Header("content-encoding");
  if (!encoding.empty() && encoding != "identity") {
    return Suspicious(
        fmt::format("{}: the hub sent it as '{}', although the plain bytes were asked "
                    "for",
                    WhereIs(part), encoding));
  }
  // The Hugging Face hub says on its redirect which content it leads to.
  const auto linked_size = response.first_headers.find("x-linked-size");
  if (linked_size != response.first_headers.end() &&
      linked_size->second != std::to_string(part.remote.size)) {
    return Suspicious(fmt::format("{}: the hub lists {} bytes, but offers {}", WhereIs(part),
                                  part.remote.size, linked_size->second));
  }
  const auto linked_etag = response.first_headers.find("x-linked-etag");
  if (linked_etag != response.first_headers.end() && !part.remote.sha256.empty()) {
    std::string tag = linked_etag->second;
    std::erase(tag, '"');
    if (IsSha256(tag) && tag != part.remote.sha256) {
      return Suspicious(fmt::format("{}: the hub lists SHA-256 {}, but offers {}", WhereIs(part),
                                    part.remote.sha256, tag));
    }
  }
  if (response.redirected && part.ranges.size() > 1) part.direct = response.url;
  return response.status == 200 ? AcceptWhole(response, attempt) : AcceptRange(response, attempt);
}

// The whole file comes: as asked for, because the hub ignores ranges, or because the file is
// another one than the part was begun with (If-Range). Everything begins at 0.
Failure Fetcher::AcceptWhole(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  const auto length = response.ContentLength();
  if (length.has_value() && *length != part.remote.size) {
    return Suspicious(fmt::format("{}: wrong length: the hub lists {} bytes, but sends {}",
                                  WhereIs(part), part.remote.size, *length));
  }
  if (attempt->asked_range) {
    if (part.generation > kRestartsMax * 4) {
      return Fatal(absl::DataLossError(fmt::format(
          "{}: it had to be started again {} times; giving up", WhereIs(part), part.generation)));
    }
    const bool changed = !part.etag.empty() && part.etag != response.Header("etag");
    if (part.BytesDone() > 0) {
      notes_.push_back(fmt::format("{}: {}; starting again", WhereIs(part),
                                   changed ? "it changed on the hub" : "the hub does not resume"));
    }
    const int failures = part.ranges[attempt->range].failures;
    const absl::Status status = part.Restart(UINT64_MAX);
    if (!status.ok()) return Fatal(status);
    part.ranges[0].busy = true;
    part.ranges[0].failures = failures;
    attempt->range = 0;
    attempt->generation = part.generation;
    attempt->file = part.file;
  }
  part.etag = response.Header("etag");
  attempt->offset = 0;
  attempt->end = part.remote.size;
  return {};
}

Failure Fetcher::AcceptRange(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  const std::string text = response.Header("content-range");
  const auto range = ParseContentRange(text);
  if (!attempt->asked_range || !range.has_value() || range->begin != attempt->offset ||
      range->last >= attempt->end) {
    return Suspicious(fmt::format("{}: asked for bytes {}-{}, the hub sent Content-Range '{}'",
                                  WhereIs(part), attempt->offset, attempt->end - 1, text));
  }
  if (range->total.has_value() && *range->total != part.remote.size) {
    return Suspicious(fmt::format("{}: wrong length: the hub lists {} bytes, but offers {}",
                                  WhereIs(part), part.remote.size, *range->total));
  }
  const std::string etag = response.Header("etag");
  if (!part.etag.empty() && !etag.empty() && part.etag != etag) {
    if (part.generation > kRestartsMax) {
      return Fatal(absl::DataLossError(
          fmt::format("{}: it keeps changing on the hub while it is fetched", WhereIs(part))));
    }
    const absl::Status status = part.Restart(options_.range_bytes);
    if (!status.ok()) return Fatal(status);
    notes_.push_back(fmt::format("{}: it changed on the hub; starting again", WhereIs(part)));
    return {.kind = Failure::Kind::kStale};
  }
  part.etag = etag;
  part.ranges_work = true;
  return {};
}

Failure Fetcher::RefusedStatus(const HttpResponse& response, Attempt* attempt) {
  Part& part = *attempt->part;
  if (attempt->used_direct) {
    // A signed URL has run out, or its host is in trouble: ask the hub for a new one.
    part.direct.clear();
    if (response.status >= 400 && response.status < 429) {
      return Transient(fmt::format("{}: the storage answered {}", WhereIs(part), response.status));
    }
  }
  if (response.status == 416) {
    const absl::Status status = part.Restart(options_.range_bytes);
    if (!status.ok()) return Fatal(status);
    if (part.generation > kRestartsMax) {
      return Fatal(absl::DataLossError(
          fmt::format("{}: the hub does not have the bytes that it lists", WhereIs(part))));
    }
    return {.kind = Failure::Kind::kStale};
  }
  const absl::Status status = HttpStatusError(response, WhereIs(part), plan_.token_hint);
  if (!absl::IsUnavailable(status)) return Fatal(status);
  return {
      .kind = Failure::Kind::kTransient, .status = status, .retry_after = response.RetryAfter()};
}

bool Fetcher::OnBody(std::span<const std::byte> bytes, Attempt* attempt) {
  Part& part = *attempt->part;
  if (bytes.size() > attempt->end - attempt->offset) {
    attempt->failure =
        Suspicious(fmt::format("{}: the hub sends more than the {} bytes that it lists",
                               part.remote.path, part.remote.size));
    return false;
  }
  if (const absl::Status status = attempt->file->Write(attempt->offset, bytes); !status.ok()) {
    attempt->failure = Fatal(status);
    return false;
  }
  attempt->offset += bytes.size();
  fetched_ += bytes.size();
  bool save = false;
  {
    const absl::MutexLock lock(&mutex_);
    if (part.generation != attempt->generation) {
      attempt->failure.kind = Failure::Kind::kStale;
      return false;
    }
    PartRange& range = part.ranges[attempt->range];
    range.done = attempt->offset - range.begin;
    if (range.done >= range.best + kProgressBytes) {
      range.best = range.done;
      range.failures = 0;
    }
    save = Clock::now() - attempt->last_save > kSaveInterval;
  }
  if (save) {
    attempt->last_save = Clock::now();
    SaveState(&part);
  }
  return true;
}

// The error to end with, or OK and how long to wait before the next attempt.
absl::Status Fetcher::CountFailure(const Task& task, const Failure& failure, double* wait) {
  const absl::MutexLock lock(&mutex_);
  Part& part = *task.part;
  if (part.generation != task.generation) return absl::OkStatus();
  PartRange& range = part.ranges[task.range];
  ++range.failures;
  part.resumed = part.resumed || part.BytesDone() > 0;
  const std::string text = base::Message(failure.status);
  if (failure.kind == Failure::Kind::kSuspicious && range.failures >= kSuspiciousAttemptsMax) {
    part.RemoveFiles();
    return failure.status;
  }
  if (range.failures > options_.retry.retries) {
    return absl::Status(
        failure.status.code(),
        fmt::format("{}; gave up after {} attempts. What has arrived is kept: run the same command "
                    "to go on.",
                    text, range.failures));
  }
  if (failure.retry_after.value_or(0) > options_.retry.retry_after_max) {
    return absl::UnavailableError(
        fmt::format("{}; the hub asks to come back in {:.0f} s. What has arrived is kept.", text,
                    *failure.retry_after));
  }
  *wait = options_.retry.Wait(range.failures, failure.retry_after);
  if (failure.retry_after.has_value()) {
    not_before_ = std::max(not_before_, Clock::now() + std::chrono::duration_cast<Clock::duration>(
                                                           std::chrono::duration<double>(*wait)));
  }
  notes_.push_back(fmt::format("{}; trying again in {:.1f} s", text, *wait));
  return absl::OkStatus();
}

void Fetcher::SaveState(Part* part) {
  std::string json;
  int generation = 0;
  {
    const absl::MutexLock lock(&mutex_);
    if (part->state != Part::State::kOpen) return;
    json = part->StateJson();
    generation = part->generation;
  }
  // Failing to note the state costs a download at most. Bytes are written before they are noted.
  base::ReplaceFile(part->state_path, json).IgnoreError();
  const absl::MutexLock lock(&mutex_);
  if (part->generation != generation || part->state == Part::State::kFinished) {
    unlink(part->state_path.c_str());  // it speaks of bytes that are no more
  }
}

// All bytes are there: are they the right ones?
void Fetcher::Finish(Part* part) {
  absl::Status status = part->file->Sync();
  if (status.ok()) {
    status = CheckDigest(part->part_path, part->remote, [this] { return !Stopped(); });
  }
  if (status.ok()) status = MakeParentDirectories(part->final_path);
  if (absl::IsDataLoss(status)) {
    const absl::MutexLock lock(&mutex_);
    if (part->resumed && !part->redone) {
      // A part from before a crash may miss bytes that it claims: once, all again.
      part->redone = true;
      notes_.push_back(fmt::format("{}; it was resumed, so it is fetched again from the start",
                                   base::Message(status)));
      status = part->Restart(options_.range_bytes);
      part->state = Part::State::kOpen;
      if (status.ok()) return;
    } else {
      part->RemoveFiles();
      status = absl::DataLossError(base::Message(status) + ". It was deleted.");
    }
  }
  if (status.ok() && rename(part->part_path.c_str(), part->final_path.c_str()) != 0) {
    status = base::OsError(errno, part->final_path, "create");
  }
  if (!status.ok()) return Fail(status);
  const absl::MutexLock lock(&mutex_);
  unlink(part->state_path.c_str());
  part->file.reset();
  part->state = Part::State::kFinished;
  --unfinished_;
}

void Fetcher::Fail(absl::Status status) {
  const absl::MutexLock lock(&mutex_);
  if (error_.ok()) error_ = std::move(status);
  stop_ = true;
}

void Fetcher::RelayNotes() {
  std::deque<std::string> notes;
  {
    const absl::MutexLock lock(&mutex_);
    notes.swap(notes_);
  }
  for (const std::string& note : notes) {
    if (observer_.on_note) observer_.on_note(note);
  }
}

void Fetcher::ReportBytes() {
  if (!observer_.on_bytes) return;
  uint64_t done = 0;
  uint64_t total = 0;
  std::string current;
  {
    const absl::MutexLock lock(&mutex_);
    for (const auto& part : parts_) {
      done += part->BytesDone();
      total += part->remote.size;
      if (current.empty() && part->state != Part::State::kFinished) current = part->remote.path;
    }
  }
  observer_.on_bytes(done == total ? "verifying" : current, done, total);
}

}  // namespace

absl::Status FetchFiles(const FetchPlan& plan, const PullOptions& options,
                        const PullObserver& observer, uint64_t* fetched) {
  return Fetcher(plan, options, observer).Run(fetched);
}

}  // namespace inhouse::lifecycle
