// What is written down of an answer: metrics, the request log, its charge, traces, and the record
// for `replay`.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <system_error>
#include <utility>

#include "model-server/routes/generation.h"
#include "model-server/routes/recorder.h"

namespace inhouse::model_server {
namespace {

double Seconds(SteadyTime from, SteadyTime to) {
  return std::chrono::duration<double>(to - from).count();
}

// Whoever replays the record may stand elsewhere.
std::string Absolute(const std::string& path) {
  std::error_code error;
  const std::filesystem::path absolute = std::filesystem::absolute(path, error);
  return error ? path : absolute.string();
}

}  // namespace

void Generation::MeasureTokens(Sequence& sequence) {
  const SteadyTime now = std::chrono::steady_clock::now();
  if (sequence.first_token) {
    setup_.context->metrics->OnTokenGap(Seconds(sequence.last_token, now));
  } else {
    sequence.first_token = now;
  }
  sequence.last_token = now;
}

void Generation::RecordEnd(size_t index, const engine::TokenEvent& event, std::string finish_name) {
  Sequence& sequence = sequences_[index];
  sequence.ended = true;
  --running_;
  const double e2e = Seconds(setup_.arrival, std::chrono::steady_clock::now());
  monitoring::RequestRecord record{.finish_reason = std::move(finish_name),
                                   .prompt_tokens = sequence.usage.prompt_tokens,
                                   .generation_tokens = sequence.usage.completion_tokens,
                                   .max_tokens = sequence.max_tokens,
                                   .n = setup_.params.n,
                                   .e2e_seconds = e2e};
  if (sequence.first_token) {
    record.first_token_seconds = Seconds(setup_.arrival, *sequence.first_token);
    record.prefill_seconds = event.timings.prefill_ms / 1000;
    record.decode_seconds = event.timings.decode_ms / 1000;
  }
  record.queue_seconds = event.timings.queue_ms / 1000;
  setup_.context->metrics->OnFinished(record);
  RecordCall(index, record);
  // Without the time in the queue, which the estimate multiplies by itself.
  if (event.finish == engine::FinishReason::kStop ||
      event.finish == engine::FinishReason::kLength) {
    setup_.context->OnAnswer((event.timings.prefill_ms + event.timings.decode_ms) / 1000);
  }
}

// For the log, and for the key's account.
void Generation::RecordCall(size_t index, const monitoring::RequestRecord& record) {
  Call& call = *setup_.call;
  if (call.finish_reason.empty()) {
    call.model = setup_.head.model;
    call.finish_reason = record.finish_reason;
    call.queue_ms = 1000 * record.queue_seconds.value_or(0);
    call.decode_ms = 1000 * record.decode_seconds.value_or(0);
    if (record.first_token_seconds) call.first_token_ms = 1000 * *record.first_token_seconds;
  }
  if (index % static_cast<size_t>(setup_.per_prompt) == 0) {
    call.prompt_tokens += record.prompt_tokens;
    call.cached_tokens += sequences_[index].usage.cached_tokens;
  }
  call.completion_tokens += record.generation_tokens;
  if (call.trace != nullptr) RecordTrace(index, record);
  if (call.pass != nullptr) call.pass->ChargeTokens(record.generation_tokens);
}

void Generation::RecordTrace(size_t index, const monitoring::RequestRecord& record) {
  RequestTrace& trace = *setup_.call->trace;
  const Sequence& sequence = sequences_[index];
  RequestTrace::Sequence phases{.index = static_cast<int64_t>(index),
                                .queue_ms = 1000 * record.queue_seconds.value_or(0),
                                .prefill_ms = 1000 * record.prefill_seconds.value_or(0),
                                .decode_ms = 1000 * record.decode_seconds.value_or(0),
                                .prompt_tokens = record.prompt_tokens,
                                .cached_tokens = sequence.usage.cached_tokens,
                                .completion_tokens = record.generation_tokens};
  // The engine's clock begins while it is being submitted, and the last token was there before we
  // heard of it: the phases lie between the two.
  const double ended = 1000 * Seconds(trace.start, std::chrono::steady_clock::now()) -
                       (phases.queue_ms + phases.prefill_ms + phases.decode_ms);
  const double submitted = 1000 * Seconds(trace.start, sequence.submitted_at);
  phases.submitted_ms = std::max(std::min(submitted, ended), 0.0);
  TraceSequence(phases, record.finish_reason, &trace);
}

// On the worker thread, before anything is submitted: what has to be known to do it again.
void Generation::BeginRecord(std::vector<engine::GenerateRequest>* requests) {
  const engine::Engine& engine = *setup_.model->engine;
  const engine::ModelInfo& info = engine.info();
  record_ = std::make_shared<AnswerRecord>();
  record_->id = setup_.head.id;
  record_->request_id = setup_.request_id;
  record_->model = setup_.head.model;
  record_->created = setup_.head.created;
  record_->engine = setup_.context->options.recorder->engine();
  record_->engine.isa = info.isa;
  record_->engine.model_path = Absolute(info.path);
  record_->engine.model_sha256 = info.digest;
  record_->engine.kv_type = info.bytes.kv_type;
  record_->engine.activation_bits = info.activation_bits;
  for (const engine::AdapterInfo& adapter : engine.adapters()) {
    if (adapter.name.empty() || adapter.name != setup_.params.adapter) continue;
    record_->engine.adapter = {.name = adapter.name, .path = Absolute(adapter.path)};
    record_->engine.adapter_sha256 = adapter.fingerprint;
  }
  for (size_t i = 0; i < requests->size(); ++i) {
    engine::GenerateRequest& request = (*requests)[i];
    // It can only be repeated with a known seed.
    if (!request.sampling.seed) request.sampling.seed = engine::RandomSeed();
    sequences_[i].record = std::make_unique<SequenceRecord>();
    sequences_[i].record->request = request;
  }
}

// Whole answers only.
void Generation::KeepRecord() {
  for (Sequence& sequence : sequences_) {
    record_->sequences.push_back(std::move(*sequence.record));
    sequence.record.reset();
  }
  setup_.context->options.recorder->Add(std::move(record_));
}

}  // namespace inhouse::model_server
