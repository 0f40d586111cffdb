// Where traces go, as flags, inhouse.toml and the environment variables of OpenTelemetry say.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "monitoring/traces/trace_context.h"

namespace inhouse::monitoring {

// What the operator says; "" = the environment does.
struct TraceChoice {
  std::string endpoint = {};  // the collector's URL; /v1/traces is put behind it
  std::string sampler = {};
  double sampler_ratio = -1;  // < 0: the environment does
};

struct TraceSettings {
  std::string url = {};  // of the traces
  std::vector<std::pair<std::string, std::string>> headers = {};
  std::vector<std::pair<std::string, std::string>> resource = {};  // with service.name
  Sampler sampler = {};
  int64_t queue_max = 2048;    // spans that wait
  int64_t batch_max = 512;     // spans of one export
  int64_t delay_ms = 5000;     // that a span waits for others
  int64_t timeout_ms = 10000;  // of one export
};

// Null if the variable is not set.
using Environment = std::function<const char*(const char* name)>;

// None: nothing is traced and nothing leaves the machine, which is so unless an endpoint is named.
// InvalidArgument that names the flag or the variable.
absl::StatusOr<std::optional<TraceSettings>> ReadTraceSettings(const TraceChoice& choice,
                                                               const Environment& environment);

}  // namespace inhouse::monitoring
