#include "model-server/routes/batch_runner.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <unordered_set>
#include <utility>

#include "base/log.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/routes/context.h"
#include "model-server/routes/random_id.h"

namespace inhouse::model_server {
namespace {

constexpr size_t kErrorsMax = 100;  // that a failed validation lists
constexpr int64_t kRestSeconds = 5;

std::vector<std::string_view> Lines(std::string_view text) {
  std::vector<std::string_view> lines;
  while (!text.empty()) {
    const size_t end = std::min(text.find('\n'), text.size());
    std::string_view line = text.substr(0, end);
    if (line.ends_with('\r')) line.remove_suffix(1);
    if (line.find_first_not_of(" \t") != std::string_view::npos) lines.push_back(line);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  return lines;
}

// Hands the answer of one line back to the runner.
class LineWriter : public ResponseWriter {
 public:
  LineWriter(std::weak_ptr<BatchRunner> runner, WorkQueue* queue, int64_t line,
             std::string custom_id, std::string request_id)
      : runner_(std::move(runner)),
        queue_(queue),
        line_(line),
        custom_id_(std::move(custom_id)),
        request_id_(std::move(request_id)) {}
  // Dropped without an answer, as when the server ends: the line stays unanswered.
  ~LineWriter() override {
    if (!sent_) Send({.status = 503});
  }

  void Send(Response response) override {
    if (std::exchange(sent_, true)) return;
    const auto runner = runner_.lock();  // as long as it lives, its queue does
    if (runner == nullptr) return;
    queue_->AddLast([weak = runner_, line = line_, id = custom_id_, request_id = request_id_,
                     response = std::move(response)] {
      if (const auto self = weak.lock()) self->OnAnswer(line, id, response, request_id);
    });
  }
  void StartStream(Response) override {}  // lines that ask for a stream are refused before
  bool Write(std::string) override { return true; }
  void End() override {}
  bool closed() const override { return false; }
  void OnClosed(std::function<void()>) override {}

 private:
  const std::weak_ptr<BatchRunner> runner_;
  WorkQueue* queue_;
  const int64_t line_;
  const std::string custom_id_;
  const std::string request_id_;
  bool sent_ = false;
};

}  // namespace

int64_t UnixNow() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::seconds>(now).count();
}

BatchRunner::BatchRunner(BatchStore* store, WorkQueue* queue, Loop* loop, BatchDispatch dispatch,
                         const Options& options)
    : store_(store),
      queue_(queue),
      loop_(loop),
      dispatch_(std::move(dispatch)),
      options_(options) {}

void BatchRunner::Pump() {
  pause_ = false;
  std::erase_if(resting_, [now = UnixNow()](const auto& rest) { return rest.second <= now; });
  if (!ValidateNew()) return;
  if (running_ && running_->in_flight == 0 && resting_.contains(running_->batch.id)) {
    running_.reset();  // what was answered is in the store
  }
  while (running_ || Load()) {
    Running& run = *running_;
    const auto fresh = store_->FindBatch(run.batch.id);  // it may have been cancelled
    if (!fresh.ok()) {
      Fail(fresh.status());
      return;
    }
    run.batch = *fresh;
    const bool cancelled = run.batch.status == BatchStatus::kCancelling;
    const bool expired = UnixNow() >= run.batch.expires_at;
    if (!cancelled && !expired) {
      while (!pause_ && !run.waiting.empty() && run.in_flight < options_.in_flight_max) {
        const int64_t line = run.waiting.back();
        run.waiting.pop_back();
        Send(line);
      }
      if (run.in_flight > 0 || !run.waiting.empty()) return;
    }
    if (run.in_flight > 0) return;  // what was sent is answered before the end
    // Against what was validated: of a file that is gone by now no line can be read.
    const bool whole = static_cast<int64_t>(run.answered.size()) >= run.batch.total;
    if (!Finish(cancelled ? BatchStatus::kCancelled
                          : (whole ? BatchStatus::kCompleted : BatchStatus::kExpired))) {
      return;
    }
  }
}

bool BatchRunner::ValidateNew() {
  while (true) {
    const auto found = store_->Oldest({BatchStatus::kValidating}, {});
    if (!found.ok()) return Fail(found.status());
    if (!*found) return true;
    if (!Validate(**found)) return false;
  }
}

bool BatchRunner::Validate(const Batch& batch) {
  const auto text = store_->Content(batch.input_file);
  std::vector<LineError> errors;
  if (text.ok()) {
    errors = Check(batch, *text);
  } else {
    errors.push_back({.code = "invalid_input_file", .message = base::Message(text.status())});
  }
  absl::Status status;
  if (errors.empty()) {
    status = store_->SetTotal(batch.id, static_cast<int64_t>(Lines(*text).size()));
  } else {
    status = store_->SetErrors(batch.id, LineErrorsJson(errors));
  }
  if (status.ok()) {
    status = store_->SetStatus(
        batch.id, errors.empty() ? BatchStatus::kInProgress : BatchStatus::kFailed, UnixNow());
  }
  return status.ok() || Fail(status);
}

std::vector<LineError> BatchRunner::Check(const Batch& batch, const std::string& text) {
  const std::vector<std::string_view> lines = Lines(text);
  if (lines.empty()) return {{.code = "empty_file", .message = "The input file has no lines."}};
  if (lines.size() > kBatchLinesMax) {
    return {{.code = "too_many_tasks",
             .message = fmt::format("The input file has {} lines; at most {} are taken.",
                                    lines.size(), kBatchLinesMax)}};
  }
  std::vector<LineError> errors;
  std::unordered_set<std::string> ids;
  for (size_t i = 0; i < lines.size() && errors.size() < kErrorsMax; ++i) {
    BatchLine line;
    auto error = ReadBatchLine(lines[i], batch.endpoint, &line);
    if (!error && !ids.insert(line.custom_id).second) {
      error = LineError{.code = "duplicate_custom_id",
                        .message = "The custom_id '" + line.custom_id + "' was used before."};
    }
    if (!error) continue;
    error->line = static_cast<int64_t>(i) + 1;
    errors.push_back(*std::move(error));
  }
  return errors;
}

bool BatchRunner::Load() {
  std::vector<std::string> resting;
  for (const auto& [id, until] : resting_) resting.push_back(id);
  const auto found = store_->Oldest(
      {BatchStatus::kInProgress, BatchStatus::kFinalizing, BatchStatus::kCancelling}, resting);
  if (!found.ok()) {
    return Fail(found.status());
  }
  if (!*found) return false;
  auto text = store_->Content((*found)->input_file);
  const auto answered = store_->AnsweredLines((*found)->id);
  if (!answered.ok()) {
    return Fail(answered.status());
  }
  // A file that was deleted meanwhile leaves the lines that have no answer without one.
  running_.emplace(Running{.batch = **found, .text = text.ok() ? *std::move(text) : ""});
  Running& run = *running_;
  run.lines = Lines(run.text);
  run.answered.insert(answered->begin(), answered->end());
  for (auto i = static_cast<int64_t>(run.lines.size()); i-- > 0;) {
    if (!run.answered.contains(i)) run.waiting.push_back(i);
  }
  spdlog::info("batch {}: {} of {} lines to do", run.batch.id, run.waiting.size(),
               run.lines.size());
  return true;
}

void BatchRunner::Send(int64_t number) {
  Running& run = *running_;
  BatchLine line;
  // It was read before, when the batch was validated.
  if (ReadBatchLine(run.lines[static_cast<size_t>(number)], run.batch.endpoint, &line)) return;
  auto request = std::make_shared<Request>();
  request->id = "batch_req_" + RandomId();
  ++run.in_flight;
  auto writer =
      std::make_shared<LineWriter>(weak_from_this(), queue_, number, line.custom_id, request->id);
  if (line.body.value("stream", Json()) == true) {
    writer->Send(ErrorResponse(InvalidRequest(
        "stream", "invalid_value", "Invalid 'stream': the lines of a batch are not streamed.")));
    return;
  }
  line.body["priority"] = std::numeric_limits<int32_t>::max();  // after everybody else
  request->method = "POST";
  request->target = run.batch.endpoint;
  request->body = line.body.dump();
  request->remote = "batch";
  loop_->Post([dispatch = dispatch_, request, writer, key = run.batch.key] {
    dispatch(request, writer, key);
  });
}

void BatchRunner::OnAnswer(int64_t line, const std::string& custom_id, const Response& response,
                           const std::string& request_id) {
  if (!running_) return;
  Running& run = *running_;
  --run.in_flight;
  // Full, loading or draining: later. A line that alone is more than its key's limit is told to
  // come back never.
  const bool later = response.status == 503 ||
                     (response.status == 429 && !response.headers.Find("retry-after").empty());
  if (later) {
    run.waiting.push_back(line);
    pause_ = true;
    if (response.status == 429 && !run.batch.key.empty()) {
      resting_[run.batch.id] = UnixNow() + kRestSeconds;
    }
    return;
  }
  const absl::Status status = store_->AddResult(run.batch.id, {.line = line,
                                                               .custom_id = custom_id,
                                                               .status = response.status,
                                                               .body = response.body,
                                                               .request_id = request_id});
  if (!status.ok()) {
    run.waiting.push_back(line);
    Fail(status);
    return;
  }
  run.answered.insert(line);
  if (!pause_) Pump();
}

bool BatchRunner::Finish(BatchStatus outcome_status) {
  Running& run = *running_;
  absl::Status status = absl::OkStatus();
  if (outcome_status != BatchStatus::kCancelled && run.batch.status != BatchStatus::kFinalizing) {
    status = store_->SetStatus(run.batch.id, BatchStatus::kFinalizing, UnixNow());
  }
  const auto results = store_->Results(run.batch.id);
  if (!status.ok() || !results.ok()) return Fail(status.ok() ? results.status() : status);
  BatchStore::Outcome outcome{.status = outcome_status};
  const auto add = [](std::string line, std::string* content) {
    *content += std::move(line);
    content->push_back('\n');
  };
  for (const LineResult& result : *results) {
    add(ResultLine(result.request_id, result, "", ""),
        result.status == 200 ? &outcome.output_content : &outcome.errors_content);
  }
  const bool expired = outcome_status == BatchStatus::kExpired;
  for (size_t i = 0; i < run.lines.size(); ++i) {
    if (run.answered.contains(static_cast<int64_t>(i))) continue;
    BatchLine line;
    ReadBatchLine(run.lines[i], run.batch.endpoint, &line);
    add(ResultLine("batch_req_" + RandomId(), {.custom_id = line.custom_id},
                   expired ? "batch_expired" : "batch_cancelled",
                   expired ? "This request could not be run before the batch expired."
                           : "This request was not run: the batch was cancelled."),
        &outcome.errors_content);
  }
  const auto file = [&run](const char* kind, const std::string& content) {
    if (content.empty()) return StoredFile{};
    return StoredFile{.id = "file-" + RandomId(),
                      .filename = run.batch.id + "_" + kind + ".jsonl",
                      .purpose = "batch_output",
                      .bytes = static_cast<int64_t>(content.size()),
                      .created_at = UnixNow(),
                      .owner = run.batch.owner};
  };
  outcome.output = file("output", outcome.output_content);
  outcome.errors = file("error", outcome.errors_content);
  status = store_->Finish(run.batch.id, outcome, UnixNow());
  if (!status.ok()) return Fail(status);
  spdlog::info("batch {}: {}", run.batch.id, BatchStatusName(outcome_status));
  running_.reset();
  return true;
}

bool BatchRunner::Fail(const absl::Status& status) {
  pause_ = true;
  spdlog::error("batches: {}", base::Message(status));
  if (running_ && running_->in_flight == 0) running_.reset();
  return false;
}

}  // namespace inhouse::model_server
