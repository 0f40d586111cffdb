// Another model takes over while requests run: it is loaded beside the one that answers, which
// then finishes what has begun.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/include/engine/engine.h"
#include "model-server/routes/context.h"

namespace inhouse::model_server {

struct SwapRequest {
  std::string model = {};      // a path or a name of the store
  bool trusted = false;        // asked for by the operator, not over HTTP: any path will do
  bool rollback = false;       // to the previous model instead
  bool unload_first = false;   // the serving model makes room: no answers until the next is loaded
  bool keep_previous = false;  // in memory, to be back at once
  double wait_seconds = 600;   // for answers that have begun with a model that makes room
  // How it is loaded; none: as the serving one was.
  std::optional<engine::EngineOptions> options = {};
  std::vector<std::string> adapters_gone = {};  // not to be carried over
};

// How models are found and loaded; given by the program. Called on the loader's thread.
class ModelLoader {
 public:
  struct Wanted {
    std::string model = {};
    bool trusted = false;
    engine::EngineOptions options = {};  // all but the model
    int64_t context_least = 0;           // tokens, or the model's own context if that is shorter
    int64_t memory_offset = 0;           // to what the system says is available
  };
  virtual ~ModelLoader() = default;
  // The same options with the model's path, and with the memory that it will take fixed.
  // ResourceExhausted that names what is needed and what there is, NotFound, PermissionDenied,
  // InvalidArgument; nothing was loaded.
  virtual absl::StatusOr<engine::EngineOptions> Plan(const Wanted& wanted) = 0;
  virtual absl::StatusOr<std::unique_ptr<engine::Engine>> Load(
      const engine::EngineOptions& options, const engine::Engine::Progress& progress) = 0;
};

enum class SwapPhase : uint8_t { kChecking, kWaiting, kLoading, kDone, kFailed };

std::string_view Name(SwapPhase phase);

struct SwapReport {
  int64_t number = 0;  // of this process
  std::string from = {};
  std::string to = {};
  SwapPhase phase = SwapPhase::kChecking;
  int percent = 0;                         // of the load
  double started = 0;                      // seconds since the epoch
  double ended = 0;                        // 0: not yet
  absl::Status status = absl::OkStatus();  // with kFailed

  bool running() const { return phase != SwapPhase::kDone && phase != SwapPhase::kFailed; }
};

// A model that can be loaded again.
struct KnownModel {
  std::string source = {};
  engine::EngineOptions options = {};
  int64_t context_tokens = 0;  // of one sequence, as served
  ModelRef resident = {};      // null: it is loaded again
};

// One swap at a time. Owned by the App; thread-safe. Its work runs on the context's loader, in turn
// with the adapters, so that none is loaded into a model that is about to go.
class ModelSwap {
 public:
  explicit ModelSwap(Context* context) : context_(context) {}

  void SetLoader(std::shared_ptr<ModelLoader> loader) ABSL_LOCKS_EXCLUDED(mutex_);

  // The first model, loaded by the program.
  void Begin(const std::string& source, const engine::EngineOptions& options,
             std::unique_ptr<engine::Engine> engine);

  // `checked` is called once on the loader's thread: with an error if nothing will happen, else
  // before the load begins, or when all is done where nothing is to be loaded. `ended` is called
  // once if it was checked well. AlreadyExists if a swap runs, Unavailable if none is possible.
  using Listener = std::function<void(const SwapReport&)>;
  absl::Status Start(SwapRequest request, Listener checked, Listener ended)
      ABSL_LOCKS_EXCLUDED(mutex_);

  std::optional<SwapReport> last() const ABSL_LOCKS_EXCLUDED(mutex_);
  std::optional<KnownModel> previous() const ABSL_LOCKS_EXCLUDED(mutex_);
  bool running() const ABSL_LOCKS_EXCLUDED(mutex_);

  // No model takes over from here on; a load is given up.
  void Stop() ABSL_LOCKS_EXCLUDED(mutex_);

 private:
  struct Job {
    SwapRequest request = {};
    Listener checked = {};
    Listener ended = {};
    bool announced = false;  // `checked` was called
  };

  void Run(Job job);
  absl::Status TryRun(Job* job);
  absl::Status RollBackAtOnce(ModelRef resident);
  // `serving` is the only reference that the swap holds: with it the model can be freed.
  absl::Status LoadAndTakeOver(Job* job, ModelRef serving);
  // The serving model is freed, or answers again.
  absl::Status Unload(ModelRef serving, double wait_seconds);
  void LoadAgain() ABSL_LOCKS_EXCLUDED(mutex_);
  absl::Status FreePrevious(double wait_seconds) ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t MemoryOffset(const ModelRef& serving, bool unload_first) const
      ABSL_LOCKS_EXCLUDED(mutex_);
  engine::EngineOptions AskedOptions(const SwapRequest& request, const ModelRef& serving,
                                     const engine::EngineOptions& basis) const;
  absl::StatusOr<ModelRef> Load(const std::string& source, const engine::EngineOptions& asked,
                                const engine::EngineOptions& exact);
  ModelRef NewModel(const std::string& source, const engine::EngineOptions& options,
                    std::unique_ptr<engine::Engine> engine);
  absl::Status TakeOver(const ModelRef& next, bool keep_previous) ABSL_LOCKS_EXCLUDED(mutex_);
  void Announce(Job* job);
  void SetPhase(SwapPhase phase) ABSL_LOCKS_EXCLUDED(mutex_);
  void Describe(const ServedModel& model);

  Context* const context_;
  std::atomic<bool> stopping_{false};
  mutable absl::Mutex mutex_;
  std::shared_ptr<ModelLoader> loader_ ABSL_GUARDED_BY(mutex_);
  std::optional<SwapReport> last_ ABSL_GUARDED_BY(mutex_);
  std::optional<KnownModel> previous_ ABSL_GUARDED_BY(mutex_);
  // The serving model, known also while it is unloaded.
  KnownModel serving_ ABSL_GUARDED_BY(mutex_);
  // They stay when another model takes over: they are what clients have been told.
  std::vector<std::string> names_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inhouse::model_server
