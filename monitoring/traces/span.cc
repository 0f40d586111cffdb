#include "monitoring/traces/span.h"

#include <cmath>

#include "nlohmann/json.hpp"

namespace inhouse::monitoring {
namespace {

using nlohmann::ordered_json;

constexpr int kStatusError = 2;
// SpanFlags of the protocol: the low byte is W3C's flags, then "is known to be remote or not" and
// "is remote".
constexpr uint32_t kFlagSampled = 0x1;
constexpr uint32_t kFlagHasRemote = 0x100;
constexpr uint32_t kFlagRemote = 0x200;

struct ToJson {
  ordered_json operator()(const std::string& text) const { return {{"stringValue", text}}; }
  ordered_json operator()(int64_t number) const { return {{"intValue", std::to_string(number)}}; }
  ordered_json operator()(double number) const {
    // JSON has no others, and the mapping's names for them are nothing that we would mean.
    return {{"doubleValue", std::isfinite(number) ? number : 0.0}};
  }
  ordered_json operator()(bool value) const { return {{"boolValue", value}}; }
  ordered_json operator()(const std::vector<std::string>& texts) const {
    ordered_json values = ordered_json::array();
    for (const std::string& text : texts) values.push_back({{"stringValue", text}});
    return {{"arrayValue", {{"values", std::move(values)}}}};
  }
};

ordered_json AttributesJson(const std::vector<Attribute>& attributes) {
  ordered_json list = ordered_json::array();
  for (const Attribute& attribute : attributes) {
    list.push_back({{"key", attribute.key}, {"value", std::visit(ToJson(), attribute.value)}});
  }
  return list;
}

ordered_json SpanJson(const Span& span) {
  ordered_json json = {{"traceId", span.trace_id}, {"spanId", span.span_id}};
  if (!span.parent_id.empty()) json["parentSpanId"] = span.parent_id;
  if (!span.trace_state.empty()) json["traceState"] = span.trace_state;
  json["flags"] = kFlagSampled | kFlagHasRemote | (span.remote_parent ? kFlagRemote : 0U);
  json["name"] = span.name;
  json["kind"] = static_cast<int>(span.kind);
  json["startTimeUnixNano"] = std::to_string(span.start_ns);
  json["endTimeUnixNano"] = std::to_string(span.end_ns);
  json["attributes"] = AttributesJson(span.attributes);
  json["status"] = span.failed ? ordered_json{{"code", kStatusError}} : ordered_json::object();
  return json;
}

}  // namespace

std::string OtlpJson(const std::vector<Attribute>& resource, const std::string& version,
                     std::span<const Span> spans) {
  ordered_json list = ordered_json::array();
  for (const Span& span : spans) list.push_back(SpanJson(span));
  const ordered_json scope = {{"name", "inhouse"}, {"version", version}};
  ordered_json scope_spans = ordered_json::array();
  scope_spans.push_back({{"scope", scope}, {"spans", std::move(list)}});
  ordered_json resource_spans = ordered_json::array();
  resource_spans.push_back({{"resource", {{"attributes", AttributesJson(resource)}}},
                            {"scopeSpans", std::move(scope_spans)}});
  const ordered_json body = {{"resourceSpans", std::move(resource_spans)}};
  return body.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

}  // namespace inhouse::monitoring
