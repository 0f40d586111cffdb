#include "model-server/routes/request_trace.h"

#include <algorithm>
#include <array>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "model-server/routes/admission.h"

namespace inhouse::model_server {
namespace {

using monitoring::Attribute;
using monitoring::Span;

constexpr size_t kSequencesMax = 8;

// The routes that are traced, with the names of OpenTelemetry's conventions for generative AI.
constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kOperations = {
    {{"/v1/chat/completions", "chat"},
     {"/v1/completions", "text_completion"},
     {"/v1/embeddings", "embeddings"},
     {"/v1/responses", "chat"},
     {"/v1/messages", "chat"}}};

int64_t Nanoseconds(double milliseconds) { return static_cast<int64_t>(milliseconds * 1e6); }

// What was asked for. Stop strings, users and the like are content, or close to it.
void AddRequest(const RequestTrace& trace, std::vector<Attribute>* out) {
  const engine::SamplingOptions& sampling = trace.sampling;
  if (trace.max_tokens) out->push_back({"gen_ai.request.max_tokens", *trace.max_tokens});
  out->push_back({"gen_ai.request.temperature", static_cast<double>(sampling.temperature)});
  out->push_back({"gen_ai.request.top_p", static_cast<double>(sampling.top_p)});
  if (sampling.top_k > 0) {
    out->push_back({"gen_ai.request.top_k", static_cast<double>(sampling.top_k)});
  }
  if (sampling.presence_penalty != 0) {
    out->push_back(
        {"gen_ai.request.presence_penalty", static_cast<double>(sampling.presence_penalty)});
  }
  if (sampling.frequency_penalty != 0) {
    out->push_back(
        {"gen_ai.request.frequency_penalty", static_cast<double>(sampling.frequency_penalty)});
  }
  if (sampling.seed) {
    out->push_back({"gen_ai.request.seed", static_cast<int64_t>(*sampling.seed)});
  }
  if (trace.n != 1) out->push_back({"gen_ai.request.choice.count", trace.n});
  out->push_back({"gen_ai.request.n", trace.n});  // vLLM's
}

// The counts and times, by the names of the conventions and by vLLM's.
void AddAnswer(const RequestTrace& trace, const Call& call, double seconds,
               std::vector<Attribute>* out) {
  if (!trace.response_id.empty()) out->push_back({"gen_ai.response.id", trace.response_id});
  if (!trace.fingerprint.empty()) {
    out->push_back({"openai.response.system_fingerprint", trace.fingerprint});
  }
  if (!trace.finish_reasons.empty()) {
    out->push_back({"gen_ai.response.finish_reasons", trace.finish_reasons});
  }
  out->push_back({"gen_ai.usage.input_tokens", call.prompt_tokens});
  out->push_back({"gen_ai.usage.output_tokens", call.completion_tokens});
  out->push_back({"gen_ai.usage.cache_read.input_tokens", call.cached_tokens});
  out->push_back({"gen_ai.usage.prompt_tokens", call.prompt_tokens});
  out->push_back({"gen_ai.usage.completion_tokens", call.completion_tokens});
  out->push_back({"gen_ai.usage.num_sequences", trace.sequences});
  out->push_back({"gen_ai.latency.e2e", seconds});
  if (call.queue_ms) out->push_back({"gen_ai.latency.time_in_queue", *call.queue_ms / 1000});
  if (call.first_token_ms) {
    out->push_back({"gen_ai.latency.time_to_first_token", *call.first_token_ms / 1000});
  }
  if (trace.first.empty()) return;
  const RequestTrace::Sequence& sequence = trace.first.front();
  out->push_back({"gen_ai.latency.time_in_model_prefill", sequence.prefill_ms / 1000});
  out->push_back({"gen_ai.latency.time_in_model_decode", sequence.decode_ms / 1000});
  out->push_back({"gen_ai.latency.time_in_model_inference",
                  (sequence.prefill_ms + sequence.decode_ms) / 1000});
}

Span Root(const RequestTrace& trace, const Call& call, const Request& request,
          std::string_view route, int status, double seconds) {
  Span span{.trace_id = trace.trace_id,
            .span_id = trace.span_id,
            .parent_id = trace.parent_id,
            .trace_state = trace.state,
            .name = std::string(trace.operation),
            .kind = Span::Kind::kServer,
            .start_ns = trace.start_ns,
            .end_ns = trace.start_ns + Nanoseconds(seconds * 1000),
            .failed = status >= 500,
            .remote_parent = !trace.parent_id.empty()};
  std::vector<Attribute>& attributes = span.attributes;
  attributes = {{"gen_ai.operation.name", std::string(trace.operation)},
                {"gen_ai.provider.name", std::string("inhouse")},
                {"http.request.method", request.method},
                {"http.route", std::string(route)},
                {"http.response.status_code", static_cast<int64_t>(status)},
                {"gen_ai.request.id", request.id}};
  if (span.failed) attributes.push_back({"error.type", std::to_string(status)});
  if (!trace.accepted) return span;
  // Only a name that is served stands here: any other one is text of the client's.
  span.name += " " + call.model;
  attributes.push_back({"gen_ai.request.model", call.model});
  attributes.push_back({"gen_ai.response.model", call.model});
  if (trace.operation != "embeddings") AddRequest(trace, &attributes);
  AddAnswer(trace, call, seconds, &attributes);
  return span;
}

class Phases {
 public:
  Phases(const RequestTrace& trace, std::vector<Span>* spans) : trace_(trace), spans_(spans) {}

  void Add(const char* name, double from_ms, double to_ms, std::vector<Attribute> attributes) {
    if (to_ms <= from_ms) return;
    spans_->push_back({.trace_id = trace_.trace_id,
                       .span_id = monitoring::NewSpanId(),
                       .parent_id = trace_.span_id,
                       .trace_state = trace_.state,
                       .name = name,
                       .start_ns = trace_.start_ns + Nanoseconds(from_ms),
                       .end_ns = trace_.start_ns + Nanoseconds(to_ms),
                       .attributes = std::move(attributes)});
  }

 private:
  const RequestTrace& trace_;
  std::vector<Span>* spans_;
};

}  // namespace

std::shared_ptr<RequestTrace> BeginTrace(const monitoring::Tracer* tracer, const Request& request,
                                         std::string_view route) {
  if (tracer == nullptr) return nullptr;
  const auto found = std::find_if(kOperations.begin(), kOperations.end(),
                                  [route](const auto& pair) { return pair.first == route; });
  if (found == kOperations.end()) return nullptr;
  const auto parent = monitoring::ParseTraceparent(request.headers.Find("traceparent"));
  RequestTrace trace;
  trace.trace_id = parent ? parent->trace_id : monitoring::NewTraceId();
  if (!tracer->sampler().Keep(trace.trace_id, parent)) return nullptr;
  trace.span_id = monitoring::NewSpanId();
  if (parent) {
    trace.parent_id = parent->span_id;
    trace.state = monitoring::CleanTracestate(request.headers.Find("tracestate"));
  }
  trace.operation = found->second;
  trace.start_ns = absl::ToUnixNanos(absl::Now());
  trace.start = RequestTrace::Clock::now();
  return std::make_shared<RequestTrace>(std::move(trace));
}

void TraceAccepted(const AnswerHead& head, const GenerateParams& params, int64_t sequences,
                   RequestTrace* trace) {
  trace->accepted = true;
  trace->response_id = head.id;
  trace->fingerprint = head.fingerprint;
  trace->max_tokens = params.max_tokens;
  trace->sampling = params.sampling;
  trace->n = params.n;
  trace->sequences = sequences;
}

void TraceSequence(const RequestTrace::Sequence& sequence, const std::string& finish_reason,
                   RequestTrace* trace) {
  if (trace->first.size() >= kSequencesMax) return;
  trace->first.push_back(sequence);
  trace->finish_reasons.push_back(finish_reason);
}

std::vector<Span> SpansOf(const RequestTrace& trace, const Call& call, const Request& request,
                          std::string_view route, int status, double seconds) {
  std::vector<Span> spans = {Root(trace, call, request, route, status, seconds)};
  Phases phases(trace, &spans);
  if (!trace.first.empty()) {
    // JSON, template, tokenizer: what happens before the engine's queue.
    phases.Add("prepare", 0, trace.first.front().submitted_ms, {});
  }
  for (const RequestTrace::Sequence& s : trace.first) {
    const Attribute index = {"inhouse.sequence", s.index};
    const double started = s.submitted_ms + s.queue_ms;
    phases.Add("queue", s.submitted_ms, started, {index});
    phases.Add("prefill", started, started + s.prefill_ms,
               {index,
                {"gen_ai.usage.input_tokens", s.prompt_tokens},
                {"gen_ai.usage.cache_read.input_tokens", s.cached_tokens}});
    phases.Add("decode", started + s.prefill_ms, started + s.prefill_ms + s.decode_ms,
               {index, {"gen_ai.usage.output_tokens", s.completion_tokens}});
  }
  return spans;
}

}  // namespace inhouse::model_server
