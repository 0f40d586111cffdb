// A finished span, and the JSON in which collectors take spans.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <variant>
#include <vector>

namespace inhouse::monitoring {

using AttributeValue = std::variant<std::string, int64_t, double, bool, std::vector<std::string>>;

struct Attribute {
  std::string key = {};
  AttributeValue value = {};
};

struct Span {
  enum class Kind : uint8_t { kInternal = 1, kServer = 2 };  // the numbers are OTLP's
  std::string trace_id = {};                                 // hexadecimal, as in TraceContext
  std::string span_id = {};
  std::string parent_id = {};  // "": a root
  std::string trace_state = {};
  std::string name = {};
  Kind kind = Kind::kInternal;
  int64_t start_ns = 0;  // since the epoch
  int64_t end_ns = 0;
  std::vector<Attribute> attributes = {};
  bool failed = false;
  bool remote_parent = false;
};

// An ExportTraceServiceRequest in OTLP's JSON mapping: ids in hexadecimal, 64-bit numbers as
// strings, enumerations as numbers. Invalid UTF-8 becomes U+FFFD.
std::string OtlpJson(const std::vector<Attribute>& resource, const std::string& version,
                     std::span<const Span> spans);

}  // namespace inhouse::monitoring
