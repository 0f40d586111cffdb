// One request as spans of a distributed trace: how long it was prepared, waited, was read and
// answered, and never what was said.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/answer.h"
#include "model-server/api/generate_params.h"
#include "model-server/http/message.h"
#include "monitoring/traces/span.h"
#include "monitoring/traces/tracer.h"

namespace inhouse::model_server {

struct Call;

// Filled on the way of a request that is traced. Belongs to the io thread.
struct RequestTrace {
  using Clock = std::chrono::steady_clock;

  // One sequence, in milliseconds since the request's arrival and as the engine measured.
  struct Sequence {
    int64_t index = 0;
    double submitted_ms = 0;
    double queue_ms = 0;
    double prefill_ms = 0;
    double decode_ms = 0;
    int64_t prompt_tokens = 0;
    int64_t cached_tokens = 0;
    int64_t completion_tokens = 0;
  };

  std::string trace_id = {};
  std::string span_id = {};
  std::string parent_id = {};
  std::string state = {};
  std::string_view operation = {};
  int64_t start_ns = 0;  // since the epoch
  Clock::time_point start = {};
  // From here on set when the engine has accepted it.
  bool accepted = false;
  std::string response_id = {};
  std::string fingerprint = {};
  std::optional<int64_t> max_tokens = {};
  engine::SamplingOptions sampling = {};
  int64_t n = 1;
  int64_t sequences = 0;
  std::vector<std::string> finish_reasons = {};  // of `first`
  std::vector<Sequence> first = {};              // a few; a request may have thousands
};

// Null if nobody traces, if this route does not make the engine work, or if the trace is not kept.
std::shared_ptr<RequestTrace> BeginTrace(const monitoring::Tracer* tracer, const Request& request,
                                         std::string_view route);

// The engine has accepted the request.
void TraceAccepted(const AnswerHead& head, const GenerateParams& params, int64_t sequences,
                   RequestTrace* trace);
void TraceSequence(const RequestTrace::Sequence& sequence, const std::string& finish_reason,
                   RequestTrace* trace);

// The request's span and its phases; the answer has ended.
std::vector<monitoring::Span> SpansOf(const RequestTrace& trace, const Call& call,
                                      const Request& request, std::string_view route, int status,
                                      double seconds);

}  // namespace inhouse::model_server
