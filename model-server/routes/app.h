// The application behind the listener: its routes, and its life from loading to draining.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "engine/include/engine/engine.h"
#include "model-server/http/handler.h"
#include "model-server/routes/context.h"
#include "model-server/routes/model_swap.h"
#include "model-server/routes/router.h"
#include "monitoring/metrics/metrics.h"

namespace inhouse::model_server {

// Every route there is, with what each asks of a key. There is no other way in. api/openapi.h
// describes them.
std::vector<Route> Routes();

// Owns the routes, the worker thread and, from Serve on, the engine. Made before the listener
// starts, destroyed after it has ended. Thread-safe.
class App {
 public:
  // `loop` and `metrics` must outlive it.
  App(const AppOptions& options, Loop* loop, monitoring::Metrics* metrics);
  ~App();

  // Files and batches, kept in a directory. Before the listener starts.
  absl::Status OpenBatches(const std::string& directory);

  // For the listener; they run on the io thread.
  Handler handler();
  HeadCheck head_check();
  static ErrorBody error_body();

  void SetLoadProgress(int64_t done, int64_t total);
  // From loading to ready. The engine must have a tokenizer; `options` are those that it was asked
  // for with.
  void Serve(std::unique_ptr<engine::Engine> engine, const engine::EngineOptions& options = {});
  // Lets other models take over; without a loader none can.
  ModelSwap& swap() { return swap_; }
  // New requests get a 503 from here on; returns when those in flight have been answered, or after
  // `seconds_max`, when they end with an error.
  void Drain(double seconds_max);

 private:
  void Tick();

  std::shared_ptr<Context> context_;
  std::shared_ptr<Router> router_;
  ModelSwap swap_;
  std::unique_ptr<WorkQueue> worker_;
  std::unique_ptr<WorkQueue> loader_;
  std::unique_ptr<BatchService> batches_;
};

}  // namespace inhouse::model_server
