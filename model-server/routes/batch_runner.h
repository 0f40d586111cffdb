// Runs the lines of batches, a few at a time, behind everybody else.
#pragma once

#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/batches.h"
#include "model-server/http/handler.h"
#include "model-server/routes/work_queue.h"

namespace inhouse::model_server {

// Answers one request of a batch as if it had come over the wire, on behalf of the key with that
// id; called on the io thread.
using BatchDispatch = std::function<void(std::shared_ptr<const Request>,
                                         std::shared_ptr<ResponseWriter>, const std::string& key)>;

// Lives on the thread of its queue, except for the constructor. One batch runs at a time, the
// oldest whose key has tokens left; what a kill interrupts goes on at the next start with the lines
// that have no answer.
class BatchRunner : public std::enable_shared_from_this<BatchRunner> {
 public:
  struct Options {
    size_t in_flight_max = 8;
    int64_t window_seconds = 24 * 3600;
  };
  // `store`, `queue` and `loop` must outlive it.
  BatchRunner(BatchStore* store, WorkQueue* queue, Loop* loop, BatchDispatch dispatch,
              const Options& options);

  int64_t window_seconds() const { return options_.window_seconds; }

  // Takes the next steps: validates, sends lines, finishes.
  void Pump();
  // A line was answered.
  void OnAnswer(int64_t line, const std::string& custom_id, const Response& response,
                const std::string& request_id);

 private:
  struct Running {
    Batch batch = {};
    std::string text = {};
    std::vector<std::string_view> lines = {};
    std::set<int64_t> answered = {};
    std::vector<int64_t> waiting = {};  // lines to be sent, the next one last
    size_t in_flight = 0;
  };

  bool ValidateNew();  // false: the store does not work, as for the next two
  bool Validate(const Batch& batch);
  std::vector<LineError> Check(const Batch& batch, const std::string& text);
  bool Load();  // the oldest batch that is to run; false: none
  void Send(int64_t line);
  bool Finish(BatchStatus status);
  // The store does not work: the batch stays as it is, and the next tick tries again.
  bool Fail(const absl::Status& status);

  BatchStore* store_;
  WorkQueue* queue_;
  Loop* loop_;
  const BatchDispatch dispatch_;
  const Options options_;
  std::optional<Running> running_;
  // Until when batches rest whose key has no tokens left: others must not wait for them.
  std::map<std::string, int64_t> resting_;
  bool pause_ = false;  // until the next tick: the server was full, loading or draining
};

// Seconds since the epoch.
int64_t UnixNow();

}  // namespace inhouse::model_server
