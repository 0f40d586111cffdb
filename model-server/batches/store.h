// Files and batches on disk, each with its owner: what was uploaded, what was asked for, and every
// line's answer.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::model_server {

struct StoredFile {
  std::string id = {};
  std::string filename = {};
  std::string purpose = {};
  int64_t bytes = 0;
  int64_t created_at = 0;  // seconds since the epoch, as all times here
  int64_t expires_at = 0;  // 0: never
  std::string owner = {};  // a tenant; "": the operator
};

enum class BatchStatus : uint8_t {
  kValidating,
  kFailed,
  kInProgress,
  kFinalizing,
  kCompleted,
  kExpired,
  kCancelling,
  kCancelled,
};
inline constexpr int kBatchStatuses = 8;
std::string_view BatchStatusName(BatchStatus status);
bool IsFinal(BatchStatus status);

struct Batch {
  std::string id = {};
  std::string input_file = {};
  std::string endpoint = {};
  std::string metadata = {};  // JSON text of an object, "" = none
  BatchStatus status = BatchStatus::kValidating;
  int64_t reached[kBatchStatuses] = {};  // when; 0: not yet. [kValidating]: created
  int64_t expires_at = 0;
  int64_t total = 0;
  int64_t completed = 0;  // lines with a good answer
  int64_t failed = 0;     // lines with an error
  std::string output_file = {};
  std::string error_file = {};
  std::string errors = {};  // JSON text of why validation failed, "" = none
  std::string owner = {};   // a tenant; "": the operator
  std::string key = {};     // the id of the key that its lines run for; "": nobody's limits
};

struct LineResult {
  int64_t line = 0;  // of the input file, from 0
  std::string custom_id = {};
  int status = 0;  // of the answer
  std::string body = {};
  std::string request_id = {};
};

// A page of a list, newest first.
struct ListOptions {
  std::string after = {};                 // an id
  std::string purpose = {};               // of files; "" = all
  std::optional<std::string> owner = {};  // none: everybody's
  int64_t limit = 20;
};

// A directory: SQLite for what is known, one file for each content. Owned by the batch service;
// used by its thread only. What a method has returned survives a kill of the process; after a power
// loss the last lines of a batch may have to be computed again.
class BatchStore {
 public:
  static absl::StatusOr<std::unique_ptr<BatchStore>> Open(const std::string& directory);
  virtual ~BatchStore() = default;

  virtual absl::Status AddFile(const StoredFile& file, std::string_view content) = 0;
  virtual absl::StatusOr<StoredFile> File(const std::string& id) = 0;  // NotFound
  virtual absl::StatusOr<std::string> Content(const std::string& id) = 0;
  virtual absl::Status RemoveFile(const std::string& id) = 0;
  virtual absl::StatusOr<std::vector<StoredFile>> Files(const ListOptions& options) = 0;
  virtual absl::Status RemoveExpiredFiles(int64_t now) = 0;
  // What an owner has here.
  struct Usage {
    int64_t files = 0;
    int64_t bytes = 0;
    int64_t open_batches = 0;  // that have not ended
  };
  virtual absl::StatusOr<Usage> UsageOf(const std::string& owner) = 0;

  virtual absl::Status AddBatch(const Batch& batch) = 0;
  virtual absl::StatusOr<Batch> FindBatch(const std::string& id) = 0;  // NotFound
  virtual absl::StatusOr<std::vector<Batch>> Batches(const ListOptions& options) = 0;
  // The oldest with one of these states that is none of `skip`.
  virtual absl::StatusOr<std::optional<Batch>> Oldest(const std::vector<BatchStatus>& states,
                                                      const std::vector<std::string>& skip) = 0;
  virtual absl::Status SetStatus(const std::string& id, BatchStatus status, int64_t now) = 0;
  virtual absl::Status SetTotal(const std::string& id, int64_t total) = 0;
  virtual absl::Status SetErrors(const std::string& id, const std::string& errors) = 0;

  // A line has one answer: a second one changes nothing.
  virtual absl::Status AddResult(const std::string& batch, const LineResult& result) = 0;
  virtual absl::StatusOr<std::vector<int64_t>> AnsweredLines(const std::string& batch) = 0;
  // In the order of the lines.
  virtual absl::StatusOr<std::vector<LineResult>> Results(const std::string& batch) = 0;
  // The end of a batch in one transaction: its files ("" = none), its state; its lines' answers are
  // in the files then.
  struct Outcome {
    BatchStatus status = BatchStatus::kCompleted;
    StoredFile output = {};
    std::string output_content = {};
    StoredFile errors = {};
    std::string errors_content = {};
  };
  virtual absl::Status Finish(const std::string& batch, const Outcome& outcome, int64_t now) = 0;
};

}  // namespace inhouse::model_server
