// For tests of the engine through its front door: a tiny real checkpoint (random weights, no
// tokenizer), and somebody who waits for the end of a request.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "engine/engine.h"
#include "gtest/gtest.h"

namespace inhouse::engine {

inline constexpr const char* kModel = "tests/fixtures/models/llama";

inline std::unique_ptr<Engine> LoadOrDie(EngineOptions options) {
  options.model = kModel;
  options.need_tokenizer = false;
  absl::StatusOr<std::unique_ptr<Engine>> engine = Engine::Load(options);
  EXPECT_TRUE(engine.ok()) << engine.status();
  return *std::move(engine);
}

inline std::vector<TokenId> Prompt(int n, int seed) {
  std::vector<TokenId> ids;
  for (int i = 0; i < n; ++i) ids.push_back((i * 37 + seed * 11) % 250);
  return ids;
}

// Collects the events of one request; Wait() returns when it has ended.
class Collector {
 public:
  EventCallback callback() {
    return [this](TokenEvent event) {
      absl::MutexLock lock(&mutex_);
      ids_.insert(ids_.end(), event.ids.begin(), event.ids.end());
      logprobs_.insert(logprobs_.end(), event.logprobs.begin(), event.logprobs.end());
      if (!event.prompt_logprobs.empty()) prompt_logprobs_ = event.prompt_logprobs;
      if (event.finish != FinishReason::kNone) ++ended_;
      last_ = std::move(event);
    };
  }
  TokenEvent Wait() {
    absl::MutexLock lock(&mutex_);
    const auto done = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return ended_ > 0; };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&done), absl::Seconds(60)));
    return last_;
  }
  void WaitForTokens(size_t n) {
    absl::MutexLock lock(&mutex_);
    const auto enough = [this, n]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return ids_.size() >= n || ended_ > 0;
    };
    EXPECT_TRUE(mutex_.AwaitWithTimeout(absl::Condition(&enough), absl::Seconds(60)));
  }
  std::vector<TokenId> ids() {
    absl::MutexLock lock(&mutex_);
    return ids_;
  }
  std::vector<TokenLogprob> logprobs() {
    absl::MutexLock lock(&mutex_);
    return logprobs_;
  }
  std::vector<TokenLogprob> prompt_logprobs() {
    absl::MutexLock lock(&mutex_);
    return prompt_logprobs_;
  }
  int ended() {
    absl::MutexLock lock(&mutex_);
    return ended_;
  }

 private:
  absl::Mutex mutex_;
  std::vector<TokenId> ids_ ABSL_GUARDED_BY(mutex_);
  std::vector<TokenLogprob> logprobs_ ABSL_GUARDED_BY(mutex_);
  std::vector<TokenLogprob> prompt_logprobs_ ABSL_GUARDED_BY(mutex_);
  TokenEvent last_ ABSL_GUARDED_BY(mutex_);
  int ended_ ABSL_GUARDED_BY(mutex_) = 0;
};

inline GenerateRequest Sampled(std::vector<TokenId> prompt, int64_t n) {
  GenerateRequest request;
  request.prompt_ids = std::move(prompt);
  request.max_tokens = n;
  request.ignore_eos = true;
  request.sampling.seed = 42;
  return request;
}

// What an answer is, and how much of its prompt came from the cache.
struct Answer {
  std::vector<TokenId> ids;
  std::vector<TokenLogprob> logprobs;
  int64_t cached = 0;
};

inline bool SameBits(const Answer& a, const Answer& b) {
  if (a.ids != b.ids || a.logprobs.size() != b.logprobs.size()) return false;
  for (size_t i = 0; i < a.logprobs.size(); ++i) {
    if (a.logprobs[i].logprob != b.logprobs[i].logprob || a.logprobs[i].top != b.logprobs[i].top) {
      return false;
    }
  }
  return true;
}

inline Answer Ask(Engine& engine, GenerateRequest request) {
  Collector collector;
  const auto session = engine.Submit(std::move(request), collector.callback());
  EXPECT_TRUE(session.ok()) << session.status();
  const TokenEvent last = collector.Wait();
  return {collector.ids(), collector.logprobs(), last.usage.cached_tokens};
}

inline GenerateRequest Scored(std::vector<TokenId> prompt, int64_t n) {
  GenerateRequest request = Sampled(std::move(prompt), n);
  request.logprobs = 5;
  return request;
}

}  // namespace inhouse::engine
