// Where a request stands in a distributed trace: the W3C's traceparent header (Trace Context,
// level 1) and what we make of it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace inhouse::monitoring {

// Ids as lower-case hexadecimal digits.
struct TraceContext {
  std::string trace_id = {};  // 32 digits
  std::string span_id = {};   // 16
  bool sampled = false;
};

// None for what is no valid traceparent: then a new trace begins, as the recommendation says.
std::optional<TraceContext> ParseTraceparent(std::string_view header);

// tracestate is passed on as it came if it is harmless: printable ASCII, at most 512 bytes; else
// "".
std::string CleanTracestate(std::string_view header);

std::string NewTraceId();
std::string NewSpanId();

// Which traces are kept, by the names of OTEL_TRACES_SAMPLER.
struct Sampler {
  enum class Root : uint8_t { kAlways, kNever, kRatio };
  Root root = Root::kAlways;
  double ratio = 1;          // with kRatio
  bool parent_based = true;  // a caller's decision goes before ours

  bool Keep(std::string_view trace_id, const std::optional<TraceContext>& parent) const;
};

// None for an unknown name.
std::optional<Sampler> SamplerByName(std::string_view name, double ratio);

}  // namespace inhouse::monitoring
