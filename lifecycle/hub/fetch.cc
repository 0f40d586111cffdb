#include "lifecycle/hub/fetch.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <chrono>
#include <thread>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/digest.h"
#include "lifecycle/hub/fetcher.h"
#include "lifecycle/hub/staging.h"

namespace inhouse::lifecycle {
namespace {

using Clock = std::chrono::steady_clock;

constexpr int kSuspiciousAttemptsMax = 2;

}  // namespace

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
      while (parts_[first_]->state == Part::State::kFinished) ++first_;
      for (size_t p = first_; p < parts_.size(); ++p) {
        Part* part = parts_[p].get();
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
          *task = {.part = part, .range = SIZE_MAX, .generation = part->generation};
          return true;
        }
        for (size_t i = 0; i < part->ranges.size(); ++i) {
          if (part->ranges[i].busy || part->ranges[i].complete()) continue;
          part->ranges[i].busy = true;
          *task = {.part = part, .range = i, .generation = part->generation};
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

// The error to end with, or OK and how long to wait before the next attempt.
absl::Status Fetcher::CountFailure(const Task& task, const Failure& failure, double* wait) {
  const absl::MutexLock lock(&mutex_);
  Part& part = *task.part;
  if (part.generation != task.generation) return absl::OkStatus();
  PartRange& range = part.ranges[task.range];
  ++range.failures;
  if (failure.kind == Failure::Kind::kSuspicious) range.done = 0;  // its bytes may be as wrong
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

absl::Status FetchFiles(const FetchPlan& plan, const PullOptions& options,
                        const PullObserver& observer, uint64_t* fetched) {
  return Fetcher(plan, options, observer).Run(fetched);
}

}  // namespace inhouse::lifecycle
