#include "apps/inhouse/bench/runner.h"

#include <algorithm>
#include <chrono>
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "base/status.h"

namespace inhouse::apps {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration d) { return std::chrono::duration<double>(d).count(); }

// A benchmark of another text would not be comparable.
std::vector<engine::TokenId> RandomIds(int64_t n, int64_t vocab, uint64_t seed) {
  std::vector<engine::TokenId> ids;
  uint64_t state = seed * 0x9E3779B97F4A7C15U + 1;
  for (int64_t i = 0; i < n; ++i) {
    state = state * 6364136223846793005U + 1442695040888963407U;
    ids.push_back(static_cast<engine::TokenId>((state >> 33) % static_cast<uint64_t>(vocab)));
  }
  return ids;
}

// When each sequence of a batch got its tokens.
class Stopwatch {
 public:
  explicit Stopwatch(int sequences) : tokens_(static_cast<size_t>(sequences)) {}

  void OnEvent(size_t sequence, const engine::TokenEvent& event) {
    const Clock::time_point now = Clock::now();
    absl::MutexLock lock(&mutex_);
    if (!event.ids.empty()) tokens_[sequence].push_back(now);
    if (event.finish != engine::FinishReason::kNone) ++ended_;
    if (event.finish == engine::FinishReason::kError) error_ = event.error;
  }

  absl::Status Wait() {
    absl::MutexLock lock(&mutex_);
    const auto all = [this]()
                         ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ == tokens_.size(); };
    mutex_.Await(absl::Condition(&all));
    return error_;
  }

  // Tokens per second of the whole batch, from the moment when all decode until the first one ends.
  double DecodeRate() {
    absl::MutexLock lock(&mutex_);
    Clock::time_point begin = tokens_.front().front();
    Clock::time_point end = tokens_.front().back();
    for (const auto& times : tokens_) {
      begin = std::max(begin, times.front());
      end = std::min(end, times.back());
    }
    int64_t count = 0;
    for (const auto& times : tokens_) {
      count += std::count_if(times.begin(), times.end(),
                             [&](Clock::time_point t) { return t > begin && t <= end; });
    }
    return end > begin ? static_cast<double>(count) / Seconds(end - begin) : 0;
  }

  Clock::time_point FirstToken() {
    absl::MutexLock lock(&mutex_);
    return tokens_.front().front();
  }

 private:
  absl::Mutex mutex_;
  std::vector<std::vector<Clock::time_point>> tokens_ ABSL_GUARDED_BY(mutex_);
  size_t ended_ ABSL_GUARDED_BY(mutex_) = 0;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

absl::StatusOr<PhaseRun> RunPhase(engine::Engine& engine, const Phase& phase) {
  // Shared: a callback may come after an early return.
  const auto watch = std::make_shared<Stopwatch>(phase.batch);
  std::vector<std::unique_ptr<engine::Session>> sessions;
  const engine::StepProfile before = engine.profile();
  const std::vector<engine::AdapterInfo> adapters = engine.adapters();
  const Clock::time_point start = Clock::now();
  for (int i = 0; i < phase.batch; ++i) {
    engine::GenerateRequest request;
    request.prompt_ids = RandomIds(phase.depth + (phase.prefill() ? phase.tokens : 1),
                                   engine.info().vocab_size, static_cast<uint64_t>(i) + 1);
    request.assume_cached = phase.depth;
    if (!adapters.empty()) {  // in turns
      request.adapter = adapters[static_cast<size_t>(i) % adapters.size()].name;
    }
    request.sampling.temperature = 0;
    request.max_tokens = phase.prefill() ? 1 : phase.tokens + 1;
    request.ignore_eos = true;
    INHOUSE_ASSIGN_OR_RETURN(
        auto session, engine.Submit(std::move(request), [watch, i](engine::TokenEvent event) {
          watch->OnEvent(static_cast<size_t>(i), event);
        }));
    sessions.push_back(std::move(session));
  }
  INHOUSE_RETURN_IF_ERROR(watch->Wait());
  PhaseRun run;
  run.profile = engine.profile().Since(before);
  run.tokens_per_second =
      phase.prefill() ? static_cast<double>(phase.tokens) / Seconds(watch->FirstToken() - start)
                      : watch->DecodeRate();
  return run;
}

}  // namespace inhouse::apps
