// A loaded model as requests see it, and the slot that holds the one that answers now.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/include/engine/engine.h"
#include "model-server/api/answer.h"
#include "model-server/api/generate_params.h"
#include "model-server/routes/work_queue.h"

namespace inhouse::model_server {

struct AppOptions;

// Immutable from the moment on in which requests can see it. A request holds the one that it began
// with until it ends, whatever is served meanwhile.
struct ServedModel {
  std::unique_ptr<engine::Engine> engine = {};
  std::string source = {};             // as it was asked for: a path or a name of the store
  engine::EngineOptions options = {};  // as asked for: loads it again
  std::vector<std::string> names = {};
  ModelBounds bounds = {};
  std::string fingerprint = {};
  int64_t created = 0;
  uint64_t number = 0;  // in the order of loading; given by ModelSlot

  bool IsNamed(std::string_view name) const;  // the model itself
  // The loaded adapter that "model:adapter", or the adapter's bare name, asks for.
  std::optional<engine::AdapterInfo> FindAdapter(std::string_view name) const;
  // `name` as the client called it. The id ends in params.request_id, if there is one.
  AnswerHead NewHead(std::string_view id_prefix, const std::string& name,
                     const GenerateParams& params) const;
};

// An engine, which has a tokenizer, as requests see it: its names, its limits, and the fingerprint
// of whatever changes the bytes of its answers.
ServedModel Present(const std::string& source, const engine::EngineOptions& options,
                    std::unique_ptr<engine::Engine> engine, const AppOptions& app);

using ModelRef = std::shared_ptr<const ServedModel>;

// Which model answers now, and which have not been freed yet. Thread-safe.
class ModelSlot {
 public:
  ModelSlot();
  ~ModelSlot();  // as StopAll

  // The one that new requests begin with; null: none.
  ModelRef current() const;

  // From here on the model is freed when its last holder lets go, on a thread of its own: to join
  // an engine and to give gigabytes back takes long, and the last holder may be the io thread.
  ModelRef Adopt(ServedModel model);

  // Returns the one that was there.
  ModelRef Set(ModelRef next);

  // Those that have not been freed, the oldest first.
  std::vector<ModelRef> living() const;

  // Whether the model with that number was freed within the time.
  bool AwaitFreed(uint64_t number, absl::Duration timeout) const;

  // Counters of all models that there were, gauges of those that there are.
  engine::EngineStats Stats() const;

  // Ends all engines, whoever holds them: their requests end as cancelled, and their callbacks are
  // not called any more when it returns.
  void StopAll();

 private:
  struct State;
  std::shared_ptr<State> state_;
  std::unique_ptr<WorkQueue> reaper_;
};

}  // namespace inhouse::model_server
