// What all routes share: the model, its bounds, the threads, and the answers in flight.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "engine/include/engine/engine.h"
#include "guard/guard.h"
#include "model-server/api/error.h"
#include "model-server/http/handler.h"
#include "model-server/routes/admission.h"
#include "model-server/routes/request_log.h"
#include "model-server/routes/served_model.h"
#include "model-server/routes/work_queue.h"
#include "monitoring/metrics/metrics.h"
#include "monitoring/traces/tracer.h"

namespace inhouse::model_server {

class BatchService;
class Generation;
class ModelSwap;
class Recorder;

struct AppOptions {
  std::vector<std::string> served_names = {};  // the first is canonical; none: the model's own name
  std::string version = {};
  std::string commit = {};
  bool client_priority = false;    // clients may ask to be served before others (priority < 0)
  size_t prepare_queue_max = 128;  // requests that wait to be read and tokenized
  std::chrono::milliseconds keep_alive{10'000};      // an SSE comment after so much silence
  engine::Pooling pooling = engine::Pooling::kMean;  // of /v1/embeddings
  // Below it clients may have adapters loaded at run time; none: nowhere.
  std::optional<std::string> adapter_root = {};
  std::shared_ptr<RequestLog> request_log = {};     // none: only the process's own log
  std::shared_ptr<monitoring::Tracer> tracer = {};  // none: nothing is traced
  std::shared_ptr<Recorder> recorder = {};          // none: no answer is kept
  std::shared_ptr<guard::Guard> guard = {};         // none: everybody may call everything
};

// kReplacing: the model was unloaded to make room for its successor.
enum class ServingState { kLoading, kReady, kReplacing, kDraining };

// Lives on the io thread, except where it says otherwise.
struct Context {
  AppOptions options;
  Loop* loop = nullptr;
  monitoring::Metrics* metrics = nullptr;
  WorkQueue* worker = nullptr;
  WorkQueue* loader = nullptr;                              // for adapters
  std::atomic<ServingState> state{ServingState::kLoading};  // any thread
  std::atomic<int> load_percent{0};                         // any thread
  ModelSwap* swap = nullptr;                                // never null once the App is made
  BatchService* batches = nullptr;                          // null: off; io thread
  ModelSlot models = {};                                    // any thread
  std::unordered_map<Generation*, std::shared_ptr<Generation>> active = {};
  // Running mean of the time that one answer takes once it runs; 0 = none has ended yet. Any thread
  // reads.
  std::atomic<double> answer_seconds{0};

  // How long a client that is turned away should wait, from what is queued. Any thread.
  int RetryAfterSeconds() const;
  void OnAnswer(double seconds);  // one ran to its end; io thread
};

// Seconds until those that wait now have had their turn: `running` answers at a time, each of
// `answer_seconds`. From 1 to an hour.
int QueueSeconds(double answer_seconds, int64_t running, int64_t waiting);

// Why nothing can be generated now, if so.
std::optional<ApiError> CheckServing(const Context& context);

// What is said where there is no model.
ApiError NoModel(const Context& context);

}  // namespace inhouse::model_server
