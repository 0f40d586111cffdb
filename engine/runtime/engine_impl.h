// The Engine behind the front door: one thread that plans steps, runs them on the team and hands
// tokens out.
#pragma once

#include <deque>
#include <memory>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "base/thread_team.h"
#include "engine/cache/prefix_cache.h"
#include "engine/comm/communicator.h"
#include "engine/engine.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/model.h"
#include "engine/runtime/adapters.h"
#include "engine/runtime/byte_plan.h"
#include "engine/runtime/grammar_cache.h"
#include "engine/runtime/prefix_loader.h"
#include "engine/runtime/request.h"
#include "engine/runtime/step_pace.h"
#include "engine/scheduler/scheduler.h"

namespace inhouse::engine {

// Everything that Load puts together, in the order of its lifetime.
struct LoadedModel {
  EngineOptions options;
  ModelInfo info;
  BytePlan plan;
  const KernelTable* kernels = nullptr;
  std::unique_ptr<Checkpoint> checkpoint;
  std::unique_ptr<Tokenizer> tokenizer;     // null: none
  std::unique_ptr<ChatFormat> chat_format;  // null: none
  std::unique_ptr<base::ThreadTeam> team;
  std::unique_ptr<Model> model;
  std::unique_ptr<AdapterTable> adapters;
  std::unique_ptr<DiskTier> disk;  // null: none
};

class EngineImpl final : public Engine {
 public:
  explicit EngineImpl(LoadedModel loaded);
  ~EngineImpl() override;

  absl::StatusOr<std::unique_ptr<Session>> Submit(GenerateRequest request,
                                                  EventCallback on_event) override;
  void Drain(double seconds_max) override;
  absl::StatusOr<std::vector<std::vector<float>>> Logits(std::span<const TokenId> ids,
                                                         const LogitsOptions& options) override;
  absl::StatusOr<AdapterInfo> LoadAdapter(const AdapterSource& source, bool replace) override {
    return loaded_.adapters->Load(source, replace);
  }
  absl::Status UnloadAdapter(const std::string& name) override {
    return loaded_.adapters->Unload(name);
  }
  std::vector<AdapterInfo> adapters() const override { return loaded_.adapters->List(); }
  const ModelInfo& info() const override { return loaded_.info; }
  EngineStats stats() const override;
  StepProfile profile() const override;
  const Tokenizer* tokenizer() const override { return loaded_.tokenizer.get(); }
  const ChatFormat* chat_format() const override { return loaded_.chat_format.get(); }

 private:
  // A prompt whose raw logits are wanted; lives on the stack of the caller of Logits.
  struct LogitsJob {
    Sequence sequence;
    std::shared_ptr<const LoadedAdapter> adapter;
    bool all = false;
    std::vector<std::vector<float>> rows;
    std::function<void(int64_t, std::span<const float>)> on_row;
    bool done = false;
  };

  void Loop();
  bool TakeArrivals() ABSL_LOCKS_EXCLUDED(mutex_);  // false: stop
  void Enqueue(Sequence* sequence);
  void DropCancelled();
  void RunStep(const Step& step) ABSL_LOCKS_EXCLUDED(mutex_);
  void Compute(const Step& step);
  void ChooseTokens(const Step& step);
  Request* RequestOf(const StepPart& part);  // null: the part is of a LogitsJob
  std::span<const float> NextLogits(const StepPart& part) const;
  void HandOut(const StepPart& part);
  void HandOutLogits(LogitsJob& job, const StepPart& part) ABSL_LOCKS_EXCLUDED(mutex_);
  void Finish(Request* request);
  void CountAdapters();
  void PublishStats() ABSL_LOCKS_EXCLUDED(mutex_);

  LoadedModel loaded_;
  SingleProcess comm_;
  const std::string cache_secret_;
  PagePool pool_;
  PrefixCache prefixes_;  // engine thread only, as are the following three
  Scheduler scheduler_;
  StepPace pace_;
  std::vector<std::unique_ptr<Request>> active_;
  std::vector<LogitsJob*> jobs_;

  GrammarCache grammars_;

  mutable absl::Mutex mutex_;
  std::deque<std::unique_ptr<Request>> arrivals_ ABSL_GUARDED_BY(mutex_);
  std::deque<LogitsJob*> job_arrivals_ ABSL_GUARDED_BY(mutex_);
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  bool disk_news_ ABSL_GUARDED_BY(mutex_) = false;  // pages were read or written
  bool draining_ ABSL_GUARDED_BY(mutex_) = false;
  int64_t in_flight_ ABSL_GUARDED_BY(mutex_) = 0;  // submitted and not ended
  EngineStats stats_ ABSL_GUARDED_BY(mutex_);
  EngineStats own_stats_;  // engine thread's copy
  StepProfile profile_ ABSL_GUARDED_BY(mutex_);
  StepProfile own_profile_;
  std::unique_ptr<PrefixLoader> loader_;  // null: no disk
  bool saving_ = false;                   // it has more to do; the engine thread's
  std::thread thread_;                    // last: starts when everything else is ready
};

}  // namespace inhouse::engine
