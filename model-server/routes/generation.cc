#include "model-server/routes/generation.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "model-server/api/prompt_logprobs.h"

namespace inhouse::model_server {
namespace {

// Of a patient one, so many sequences are in the engine's queue at a time.
constexpr size_t kAtOnce = 32;
// When the queue was full while none of them was in it.
constexpr std::chrono::milliseconds kTryAgain{100};

// Each prompt counts once, however many answers it gets, as in the answer's `usage`.
int64_t PromptTokens(const GenerationSetup& setup,
                     const std::vector<engine::GenerateRequest>& requests) {
  int64_t tokens = 0;
  for (const engine::GenerateRequest& request : requests) {
    tokens += static_cast<int64_t>(request.prompt_ids.size());
  }
  return tokens / setup.per_prompt;
}

}  // namespace

Generation::Generation(GenerationSetup setup) : setup_(std::move(setup)) {}
Generation::~Generation() = default;

void Generation::Launch(const std::shared_ptr<Generation>& generation,
                        std::vector<engine::GenerateRequest> requests) {
  Context* context = generation->setup_.context;
  const int64_t tokens = PromptTokens(generation->setup_, requests);
  const std::shared_ptr<Call> call = generation->setup_.call;
  if (const auto error = TakeModelAndTokens(*call, generation->setup_.head.model, tokens)) {
    context->loop->Post([generation, error] {
      generation->setup_.context->metrics->OnRejected(error->code);
      generation->setup_.writer->Send(ErrorResponse(*error));
    });
    return;
  }
  std::vector<std::unique_ptr<engine::Session>> sessions;
  generation->sequences_.resize(requests.size());
  if (context->options.recorder != nullptr) generation->BeginRecord(&requests);
  for (size_t i = 0; i < requests.size(); ++i) {
    generation->sequences_[i].max_tokens = requests[i].max_tokens;
    requests[i].tenant = call->caller.tenant;
    const bool waits = generation->patient() && (i >= kAtOnce || !generation->later_.empty());
    if (waits) {
      generation->later_.emplace_back(i, std::move(requests[i]));
      continue;
    }
    auto session = generation->Submit(i, requests[i]);
    if (!session.ok()) {
      if (i > 0 && generation->patient() && absl::IsResourceExhausted(session.status())) {
        generation->later_.emplace_back(i, std::move(requests[i]));
        continue;
      }
      ApiError error = FromStatus(session.status());
      if (call->pass != nullptr) call->pass->ReturnTokens(tokens);
      // Unloaded since the request was read.
      if (absl::IsNotFound(session.status())) error = ModelNotFound(generation->setup_.head.model);
      if (error.status == 429) error = Overloaded(error.message, context->RetryAfterSeconds());
      context->loop->Post([generation, error] {
        generation->setup_.context->metrics->OnRejected(error.code);
        generation->setup_.writer->Send(ErrorResponse(error));
      });
      return;
    }
    sessions.push_back(*std::move(session));
  }
  // Shared, because what a std::function holds must be copyable.
  auto shared = std::make_shared<decltype(sessions)>(std::move(sessions));
  context->loop->Post([generation, shared] { generation->Start(std::move(*shared)); });
}

absl::StatusOr<std::unique_ptr<engine::Session>> Generation::Submit(
    size_t index, engine::GenerateRequest request) {
  const auto on_event = [weak = weak_from_this(), loop = setup_.context->loop,
                         index](engine::TokenEvent event) {
    loop->Post([weak, index, event = std::move(event)]() mutable {
      if (const auto self = weak.lock()) self->OnEvent(index, std::move(event));
    });
  };
  auto session = setup_.model->engine->Submit(std::move(request), on_event);
  if (session.ok()) {
    sequences_[index].submitted = true;
    sequences_[index].submitted_at = std::chrono::steady_clock::now();
  }
  return session;
}

void Generation::SubmitLater() {
  if (left_) return;
  const auto in_queue = [this] {
    return static_cast<size_t>(
        std::count_if(sequences_.begin(), sequences_.end(),
                      [](const Sequence& s) { return s.submitted && !s.ended; }));
  };
  while (!later_.empty() && in_queue() < kAtOnce) {
    auto session = Submit(later_.front().first, later_.front().second);
    if (session.ok()) {
      sequences_[later_.front().first].session = *std::move(session);
      later_.pop_front();
      continue;
    }
    if (!absl::IsResourceExhausted(session.status())) return Abort(FromStatus(session.status()));
    if (in_queue() > 0) return;  // the next end tries again
    return setup_.context->loop->PostAfter(kTryAgain, [weak = weak_from_this()] {
      if (const auto self = weak.lock()) self->SubmitLater();
    });
  }
}

void Generation::Start(std::vector<std::unique_ptr<engine::Session>> sessions) {
  started_ = true;
  if (setup_.writer->closed()) return;  // the sessions end here
  for (size_t i = 0; i < sessions.size(); ++i) sequences_[i].session = std::move(sessions[i]);
  running_ = sequences_.size();
  setup_.context->active.emplace(this, shared_from_this());
  if (RequestTrace* trace = setup_.call->trace.get(); trace != nullptr) {
    TraceAccepted(setup_.head, setup_.params, static_cast<int64_t>(sequences_.size()), trace);
  }
  setup_.writer->OnClosed([weak = weak_from_this()] {
    if (const auto self = weak.lock()) self->OnClientGone();
  });
  last_write_ = std::chrono::steady_clock::now();
  if (streams()) {
    Response head;
    head.headers.Add("Content-Type", "text/event-stream; charset=utf-8");
    head.headers.Add("Cache-Control", "no-cache");
    head.headers.Add("X-Accel-Buffering", "no");  // a proxy must not collect tokens
    setup_.writer->StartStream(std::move(head));
    OnStreamStart();
  }
  for (auto& [index, event] : std::exchange(early_, {})) OnEvent(index, std::move(event));
}

void Generation::OnEvent(size_t index, engine::TokenEvent event) {
  if (left_) return;
  if (!started_) {
    early_.emplace_back(index, std::move(event));
    return;
  }
  const auto self = shared_from_this();  // leaving must not destroy it under our feet
  Sequence& sequence = sequences_[index];
  if (running_ == 0 || sequence.ended) return;
  sequence.usage = event.usage;
  using engine::FinishReason;
  const bool failed =
      event.finish == FinishReason::kError || event.finish == FinishReason::kCancelled;
  if (failed) {
    RecordEnd(index, event, event.finish == FinishReason::kError ? "error" : "abort");
    return Abort(event.finish == FinishReason::kError
                     ? FromStatus(event.error)
                     : Unavailable("The server is shutting down.", 5));
  }
  if (!event.ids.empty()) MeasureTokens(sequence);
  if (sequence.record != nullptr) sequence.record->output.Append(event);
  if (!event.ids.empty() || !event.text.empty() || !event.prompt_logprobs.empty() ||
      !event.embedding.empty()) {
    OnTokens(index, event);
  }
  if (left_ || event.finish == FinishReason::kNone) return;
  OnSequenceEnd(index, event.finish);
  if (left_) return;
  RecordEnd(index, event, FinishName(index, event.finish));
  if (running_ > 0) return SubmitLater();
  if (record_ != nullptr) KeepRecord();
  OnAllEnded();
  Leave();
}

void Generation::OnClientGone() {
  if (left_) return;
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (!sequences_[i].ended) RecordEnd(i, {}, "abort");
  }
  Leave();
}

void Generation::Leave() {
  left_ = true;
  for (Sequence& sequence : sequences_) sequence.session.reset();
  setup_.context->active.erase(this);
}

void Generation::Abort(const ApiError& error) {
  if (left_) return;
  const auto self = shared_from_this();
  // What the others have cost is charged and logged, which happens before the answer ends.
  for (size_t i = 0; i < sequences_.size(); ++i) {
    if (!sequences_[i].ended) RecordEnd(i, {}, "abort");
  }
  if (streams()) {
    setup_.writer->Write(ErrorEvent(error));
    setup_.writer->End();
  } else {
    setup_.writer->Send(ErrorResponse(error));
  }
  Leave();
}

void Generation::Tick(SteadyTime now) {
  if (!streams() || left_ || now - last_write_ < setup_.context->options.keep_alive) return;
  WritePiece(": keep-alive\n\n");
}

void Generation::WritePiece(std::string piece) {
  last_write_ = std::chrono::steady_clock::now();
  // A client that does not read is cut off by the connection, which then calls OnClientGone.
  setup_.writer->Write(std::move(piece));
}

void Generation::EndStream(std::string last) {
  setup_.writer->Write(std::move(last));
  setup_.writer->End();
}

void Generation::SendWhole(Response response) {
  response.headers.Add("Content-Type", "application/json");
  setup_.writer->Send(std::move(response));
}

TokenScore Generation::Score(const engine::TokenLogprob& logprob, size_t top_max) const {
  const engine::Tokenizer& tokenizer = *setup_.model->engine->tokenizer();
  TokenScore score{.token = std::string(tokenizer.TokenBytes(logprob.id)),
                   .in_text = !tokenizer.IsSpecial(logprob.id),
                   .logprob = logprob.logprob};
  score.top.reserve(std::min(top_max, logprob.top.size()));
  for (const auto& [id, value] : logprob.top) {
    if (score.top.size() >= top_max) break;
    score.top.emplace_back(tokenizer.TokenBytes(id), value);
  }
  return score;
}

std::string Generation::PromptLogprobs(const engine::TokenEvent& event) const {
  const engine::Tokenizer& tokenizer = *setup_.model->engine->tokenizer();
  const auto top_max = static_cast<size_t>(setup_.params.prompt_logprobs.value_or(0));
  std::vector<std::vector<PromptCandidate>> places;
  places.reserve(event.prompt_logprobs.size());
  for (const engine::TokenLogprob& own : event.prompt_logprobs) {
    std::vector<PromptCandidate>& place = places.emplace_back();
    if (places.size() == 1) continue;  // nothing comes before it
    place.push_back({own.id, std::string(tokenizer.TokenBytes(own.id)), own.logprob});
    for (size_t i = 0; i < std::min(top_max, own.top.size()); ++i) {
      const auto& [id, logprob] = own.top[i];
      const auto rank = static_cast<int64_t>(i) + 1;
      if (id == own.id) {
        place.front().rank = rank;
      } else {
        place.push_back({id, std::string(tokenizer.TokenBytes(id)), logprob, rank});
      }
    }
  }
  return PromptLogprobsJson(places);
}

}  // namespace inhouse::model_server
