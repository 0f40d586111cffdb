// Keeps whole answers with their prompts, for `inhouse replay`. Only where the operator wants that.
#pragma once

#include <cstdint>
#include <deque>
#include <memory>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model-server/api/record.h"
#include "model-server/routes/work_queue.h"

namespace inhouse::model_server {

struct RecorderOptions {
  std::string directory = {};  // "" = nothing is kept
  int64_t bytes_max = 0;       // beyond, the oldest answers are deleted
  // What the server knows of itself: version, commit and build.
  RecordedEngine engine = {};
};

// A file of JSON for each answer, readable by the server's user only. Writes on a thread of its
// own: a slow disk delays nobody; what it does not take is dropped, and the log tells so. Add() is
// thread-safe.
class Recorder {
 public:
  // Creates the directory. The system's error if it cannot be used.
  static absl::StatusOr<std::shared_ptr<Recorder>> Open(const RecorderOptions& options);
  ~Recorder();  // what waits is written

  const RecordedEngine& engine() const { return options_.engine; }
  void Add(std::shared_ptr<const AnswerRecord> record);

 private:
  explicit Recorder(RecorderOptions options);
  absl::Status Scan();
  void Write(const AnswerRecord& record);
  void Shrink();

  const RecorderOptions options_;
  // Names and sizes, the oldest first. The writer's, as are the next two.
  std::deque<std::pair<std::string, int64_t>> files_;
  int64_t bytes_ = 0;
  bool failed_ = false;  // the last write
  std::unique_ptr<WorkQueue> writer_;
};

// The record of an answer's id ("chatcmpl-...") or of a request's ("x-request-id"); the last one
// where there are several. NotFound if there is none.
absl::StatusOr<AnswerRecord> FindRecord(const std::string& directory, const std::string& id);

}  // namespace inhouse::model_server
