#include "engine/runtime/request.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "base/status.h"

namespace inhouse::engine {
namespace {

double Milliseconds(Request::Clock::duration d) {
  return std::chrono::duration<double, std::milli>(d).count();
}

}  // namespace

Request::Request(GenerateRequest request, EventCallback on_event, const Tokenizer* tokenizer,
                 std::vector<TokenId> end_tokens, const ElementwiseKernels& kernels)
    : request_(std::move(request)),
      on_event_(std::move(on_event)),
      end_tokens_(std::move(end_tokens)),
      kernels_(kernels),
      sampler_(request_.sampling, request_.prompt_ids, kernels),
      stop_(request_.stop, request_.include_stop) {
  sequence_.tokens = request_.prompt_ids;
  sequence_.prompt_tokens = static_cast<int64_t>(request_.prompt_ids.size());
  sequence_.all_logits = request_.prompt_logprobs && request_.logprobs >= 0;
  if (request_.pooling) {
    pooler_.emplace(*request_.pooling, sequence_.prompt_tokens);
    sequence_.hidden = pooler_->wanted();
    sequence_.all_logits = false;
  }
  thinking_ = request_.thinking_budget && !request_.thinking_budget->end.empty();
  usage_.prompt_tokens = sequence_.prompt_tokens;
  sequence_.assumed = usage_.cached_tokens = request_.assume_cached;
  if (tokenizer != nullptr) decoder_.emplace(*tokenizer, request_.skip_special_tokens);
  if (sequence_.all_logits) {
    TokenLogprob first;  // nothing comes before it
    first.id = request_.prompt_ids.front();
    first.logprob = std::numeric_limits<float>::quiet_NaN();
    prompt_logprobs_.push_back(first);
  }
}

void Request::Follow(std::shared_ptr<Grammar> grammar, const Tokenizer& tokenizer) {
  guide_.emplace(std::move(grammar), request_, tokenizer);
}

void Request::Started(Clock::time_point now) { started_ = now; }

void Request::OnPromptLogits(int64_t first, int64_t rows, const float* logits, int64_t vocab) {
  if (!sequence_.all_logits) return;
  for (int64_t i = 0; i < rows; ++i) {
    const int64_t next = first + i + 1;
    if (next >= sequence_.prompt_tokens || next != static_cast<int64_t>(prompt_logprobs_.size()))
      continue;
    prompt_logprobs_.push_back(ComputeLogprob({logits + i * vocab, static_cast<size_t>(vocab)},
                                              request_.prompt_ids[static_cast<size_t>(next)],
                                              request_.logprobs, kernels_));
  }
}

bool Request::OnHidden(int64_t first, int64_t rows, const float* hidden, int64_t size) {
  for (int64_t i = 0; i < rows; ++i) {
    pooler_->Add(first + i, {hidden + i * size, static_cast<size_t>(size)});
  }
  if (first + rows < sequence_.prompt_tokens) return false;
  first_token_ = last_token_ = Clock::now();
  TokenEvent event;
  event.embedding = pooler_->Finish();
  event.finish = FinishReason::kStop;
  event.timings = {.queue_ms = Milliseconds(*started_ - submitted_),
                   .prefill_ms = Milliseconds(*first_token_ - *started_)};
  Emit(std::move(event));
  return true;
}

bool Request::IsEnd(TokenId id) const {
  const auto in = [id](const std::vector<TokenId>& ids) {
    return std::find(ids.begin(), ids.end(), id) != ids.end();
  };
  return in(request_.stop_ids) || (!request_.ignore_eos && in(end_tokens_));
}

void Request::Emit(TokenEvent event) {
  usage_.cached_tokens = std::max(request_.assume_cached, sequence_.cached);
  event.usage = usage_;
  if (on_event_) on_event_(std::move(event));
}

// Whether the first `count` of `ids` are the last tokens of the answer.
bool Request::EndsWith(const std::vector<TokenId>& ids, size_t count) const {
  if (static_cast<size_t>(usage_.completion_tokens) < count) return false;
  return std::equal(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(count),
                    sequence_.tokens.end() - static_cast<std::ptrdiff_t>(count));
}

// Tokens that end the answer, of those that the logits know.
std::vector<TokenId> Request::EndIds(size_t vocab) const {
  std::vector<TokenId> ids = request_.stop_ids;
  if (!request_.ignore_eos) ids.insert(ids.end(), end_tokens_.begin(), end_tokens_.end());
  std::erase_if(ids, [vocab](TokenId id) { return id < 0 || static_cast<size_t>(id) >= vocab; });
  return ids;
}

std::vector<TokenId> Request::Banned(size_t vocab) const {
  std::vector<TokenId> banned;
  // Where a grammar decides, its mask says whether the answer may end. Before that comes reasoning,
  // which is followed by an answer, so it does not end the text.
  const bool early = usage_.completion_tokens < request_.min_tokens;
  if (guide_ ? guide_->is_free() : early) banned = EndIds(vocab);
  for (const std::vector<TokenId>& ids : request_.bad_sequences) {
    if (!ids.empty() && EndsWith(ids, ids.size() - 1)) banned.push_back(ids.back());
  }
  std::erase_if(banned, [vocab](TokenId id) { return id < 0 || static_cast<size_t>(id) >= vocab; });
  return banned;
}

std::optional<TokenId> Request::Forced() {
  if (!thinking_) return std::nullopt;
  const auto& [tokens, begin, end] = *request_.thinking_budget;
  if (forced_ == 0) {
    const auto answer = std::span(sequence_.tokens).subspan(request_.prompt_ids.size());
    const size_t opened = std::min(begin.size(), answer.size());
    if (!std::equal(begin.begin(), begin.begin() + static_cast<std::ptrdiff_t>(opened),
                    answer.begin()) ||
        EndsWith(end, end.size())) {
      thinking_ = false;  // there is no reasoning, or it has ended
    }
    const auto least = static_cast<int64_t>(begin.size());
    if (!thinking_ || usage_.completion_tokens < std::max(tokens, least)) return std::nullopt;
  }
  const TokenId id = end[forced_++];
  if (forced_ == end.size()) thinking_ = false;
  return id;
}

absl::Status Request::FillMask(size_t vocab) {
  mask_.clear();
  if (!guide_ || guide_->is_free()) return absl::OkStatus();
  INHOUSE_RETURN_IF_ERROR(guide_->FillMask(&mask_));
  const bool early = usage_.completion_tokens < request_.min_tokens;
  if (guide_->may_end() && (!early || guide_->must_end())) {
    mask_.resize(std::max(mask_.size(), (vocab + 63) / 64));
    for (const TokenId id : EndIds(vocab)) {
      mask_[static_cast<size_t>(id) / 64] |= uint64_t{1} << (static_cast<size_t>(id) % 64);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<TokenId> Request::Choose(std::span<const float> logits) {
  if (const auto forced = Forced()) return *forced;
  INHOUSE_RETURN_IF_ERROR(FillMask(logits.size()));
  const std::vector<TokenId> banned = Banned(logits.size());
  if (request_.allowed_ids.empty()) return sampler_.Sample(logits, banned, mask_);
  const bool none_left =
      std::all_of(request_.allowed_ids.begin(), request_.allowed_ids.end(), [&banned](TokenId id) {
        return std::find(banned.begin(), banned.end(), id) != banned.end();
      });
  if (mask_.empty() && none_left) {
    return base::InvalidInput(
        {.field = "allowed_token_ids", .expected = "a token that min_tokens and bad_words leave"});
  }
  allowed_logits_.assign(logits.size(), -std::numeric_limits<float>::infinity());
  for (const TokenId id : request_.allowed_ids) {
    allowed_logits_[static_cast<size_t>(id)] = logits[static_cast<size_t>(id)];
  }
  return sampler_.Sample(allowed_logits_, banned, mask_);
}

Request::Choice Request::ChooseWithLogprobs(std::span<const float> logits) {
  Choice choice{.id = Choose(logits)};
  if (choice.id.ok() && request_.logprobs >= 0) {
    choice.logprobs = {ComputeLogprob(logits, *choice.id, request_.logprobs, kernels_)};
  }
  return choice;
}

void Request::ChooseAhead(std::span<const float> logits) { ahead_ = ChooseWithLogprobs(logits); }

bool Request::OnNextLogits(std::span<const float> logits) {
  if (!prompt_logprobs_.empty()) {
    TokenEvent event;
    event.prompt_logprobs = std::exchange(prompt_logprobs_, {});
    sequence_.all_logits = false;
    Emit(std::move(event));
  }
  if (request_.max_tokens == 0) {
    End(FinishReason::kLength);
    return true;
  }
  if (guide_ && guide_->must_end()) {  // an empty text is all that the grammar allows
    End(FinishReason::kStop);
    return true;
  }
  if (!ahead_) ahead_ = ChooseWithLogprobs(logits);
  Choice choice = *std::exchange(ahead_, std::nullopt);
  if (!choice.id.ok()) {
    End(FinishReason::kError, choice.id.status());
    return true;
  }
  const TokenId id = *choice.id;
  sampler_.Accept(id);
  if (guide_ && !guide_->Accept(id) && !IsEnd(id)) {
    End(FinishReason::kError,
        absl::InternalError("The grammar refuses a token that it had offered: it nests too deep."));
    return true;
  }
  TokenEvent event;
  event.ids = {id};
  event.logprobs = std::move(choice.logprobs);
  ++usage_.completion_tokens;
  last_token_ = Clock::now();
  if (!first_token_) first_token_ = last_token_;
  return Continue(id, std::move(event));
}

// Turns the token into text, looks for the end, tells the callback. True = ended.
bool Request::Continue(TokenId id, TokenEvent event) {
  sequence_.tokens.push_back(id);
  const bool end_token = IsEnd(id);
  if (decoder_ && (!end_token || request_.include_stop))
    event.text = stop_.Push(decoder_->Push(id));
  const bool length = usage_.completion_tokens >= request_.max_tokens;
  const bool complete = guide_ && guide_->must_end();
  if (!end_token && !stop_.stopped() && !complete && !length) {
    Emit(std::move(event));
    return false;
  }
  if (decoder_) {
    event.text += stop_.Push(decoder_->Finish());
    event.text += stop_.Finish();
  }
  event.finish =
      end_token || stop_.stopped() || complete ? FinishReason::kStop : FinishReason::kLength;
  event.stop_string = stop_.found();
  event.timings = {.queue_ms = Milliseconds(*started_ - submitted_),
                   .prefill_ms = Milliseconds(*first_token_ - *started_),
                   .decode_ms = Milliseconds(last_token_ - *first_token_)};
  Emit(std::move(event));
  return true;
}

void Request::End(FinishReason reason, absl::Status error) {
  TokenEvent event;
  if (decoder_ && reason != FinishReason::kError) {
    event.text = stop_.Push(decoder_->Finish());
    event.text += stop_.Finish();
  }
  event.finish = reason;
  event.error = std::move(error);
  const Clock::time_point now = Clock::now();
  event.timings.queue_ms = Milliseconds(started_.value_or(now) - submitted_);
  if (started_) event.timings.prefill_ms = Milliseconds(first_token_.value_or(now) - *started_);
  if (first_token_) event.timings.decode_ms = Milliseconds(last_token_ - *first_token_);
  Emit(std::move(event));
}

}  // namespace inhouse::engine
