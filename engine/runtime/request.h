// One request inside the engine: its sequence, its sampler, its text, and what its callback has
// been told.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "engine/engine.h"
#include "engine/runtime/adapters.h"
#include "engine/runtime/grammar_guide.h"
#include "engine/runtime/pooler.h"
#include "engine/runtime/stop_matcher.h"
#include "engine/sampling/sampler.h"
#include "engine/scheduler/scheduler.h"

namespace inhouse::engine {

// Created by Submit on any thread, then used by the engine thread only, except for `cancelled` and
// ChooseAhead.
class Request {
 public:
  using Clock = std::chrono::steady_clock;

  // `request` is already checked. `tokenizer` may be null (no text then). `end_tokens` of the
  // model.
  Request(GenerateRequest request, EventCallback on_event, const Tokenizer* tokenizer,
          std::vector<TokenId> end_tokens, const ElementwiseKernels& kernels);

  // Before it is scheduled. The weights live as long as the request.
  void UseAdapter(std::shared_ptr<const LoadedAdapter> adapter) {
    sequence_.adapter = adapter->weights.get();
    adapter_ = std::move(adapter);
  }
  const LoadedAdapter* adapter() const { return adapter_.get(); }  // null: none
  // Before the first step: the answer follows this grammar. Needs a tokenizer.
  void Follow(std::shared_ptr<Grammar> grammar, const Tokenizer& tokenizer);

  Sequence& sequence() { return sequence_; }
  std::atomic<bool>& cancelled() { return *cancelled_; }
  std::shared_ptr<std::atomic<bool>> cancel_flag() const { return cancelled_; }
  Clock::time_point submitted() const { return submitted_; }

  void Started(Clock::time_point now);  // its first step begins
  bool started() const { return started_.has_value(); }

  // Logits of prompt rows [first, first + rows) arrived ([rows][vocab]); for prompt_logprobs.
  void OnPromptLogits(int64_t first, int64_t rows, const float* logits, int64_t vocab);
  // Whether the next token may be chosen beside those of other requests: a grammar is shared.
  bool chooses_alone() const { return !guide_ && request_.max_tokens > 0; }
  // Chooses the next token ahead of OnNextLogits, which gets the same logits. For different
  // requests at the same time, on any threads.
  void ChooseAhead(std::span<const float> logits);
  // Logits for the next token: samples it, tells the callback, and ends the request if it is the
  // last. True = ended.
  bool OnNextLogits(std::span<const float> logits);
  // Final hidden states of prompt rows [first, first + rows) arrived ([rows][size]). True = these
  // were the last, and the embedding has been told.
  bool OnHidden(int64_t first, int64_t rows, const float* hidden, int64_t size);
  // Ends it for another reason.
  void End(FinishReason reason, absl::Status error = absl::OkStatus());

  const Usage& usage() const { return usage_; }

 private:
  bool IsEnd(TokenId id) const;
  // Tokens that end the answer, of those that the logits know.
  std::vector<TokenId> EndIds(size_t vocab) const;
  // What must not be chosen now: ends that come too early, last tokens of bad sequences.
  std::vector<TokenId> Banned(size_t vocab) const;
  absl::Status FillMask(size_t vocab);  // what the grammar allows; empty: everything
  absl::StatusOr<TokenId> Choose(std::span<const float> logits);
  struct Choice {
    absl::StatusOr<TokenId> id;
    std::vector<TokenLogprob> logprobs = {};
  };
  Choice ChooseWithLogprobs(std::span<const float> logits);
  bool EndsWith(const std::vector<TokenId>& ids, size_t count) const;
  // The next token that the budget of reasoning puts in, if it is used up.
  std::optional<TokenId> Forced();
  void Emit(TokenEvent event);
  bool Continue(TokenId id, TokenEvent event);

  GenerateRequest request_;
  EventCallback on_event_;
  std::vector<TokenId> end_tokens_;
  const ElementwiseKernels& kernels_;
  Sequence sequence_;
  std::shared_ptr<const LoadedAdapter> adapter_;
  Sampler sampler_;
  std::optional<GrammarGuide> guide_;
  TokenMask mask_;
  std::optional<StreamDecoder> decoder_;
  StopMatcher stop_;
  std::vector<TokenLogprob> prompt_logprobs_;
  std::optional<Pooler> pooler_;
  Usage usage_;
  std::vector<float> allowed_logits_;  // working copy, with allowed_ids
  std::optional<Choice> ahead_;
  bool thinking_ = false;  // has a budget, and has not ended
  size_t forced_ = 0;      // tokens of the budget's end that were put in
  std::shared_ptr<std::atomic<bool>> cancelled_ = std::make_shared<std::atomic<bool>>(false);
  Clock::time_point submitted_ = Clock::now();
  std::optional<Clock::time_point> started_;
  std::optional<Clock::time_point> first_token_;
  Clock::time_point last_token_;
};

}  // namespace inhouse::engine
