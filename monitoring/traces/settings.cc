#include "monitoring/traces/settings.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <limits>
#include <string_view>

#include "base/status.h"

namespace inhouse::monitoring {
namespace {

using Pairs = std::vector<std::pair<std::string, std::string>>;

std::string_view Trim(std::string_view text) {
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.front())) != 0) {
    text.remove_prefix(1);
  }
  while (!text.empty() && std::isspace(static_cast<unsigned char>(text.back())) != 0) {
    text.remove_suffix(1);
  }
  return text;
}

std::string Decode(std::string_view text) {
  std::string out;
  for (size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    if (text[i] == '%' && i + 2 < text.size() + 0 &&
        std::from_chars(text.data() + i + 1, text.data() + i + 3, value, 16).ptr ==
            text.data() + i + 3) {
      out.push_back(static_cast<char>(value));
      i += 2;
    } else {
      out.push_back(text[i]);
    }
  }
  return out;
}

// Reads the variables; the first problem is kept.
class Reader {
 public:
  explicit Reader(const Environment& environment) : environment_(environment) {}

  // An empty variable counts as unset, as the specification says.
  std::string Text(const char* name) const {
    const char* value = environment_(name);
    return value == nullptr ? "" : std::string(Trim(value));
  }
  // The variable for traces goes before the one for all signals.
  std::string Signal(const std::string& end) const {
    const std::string own = Text(("OTEL_EXPORTER_OTLP_TRACES_" + end).c_str());
    return own.empty() ? Text(("OTEL_EXPORTER_OTLP_" + end).c_str()) : own;
  }
  void Number(const char* name, int64_t min, int64_t max, int64_t* out) {
    const std::string text = Text(name);
    if (text.empty()) return;
    int64_t value = 0;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
    if (error != std::errc() || end != text.data() + text.size() || value < min || value > max) {
      return Fail(name, text,
                  "an integer from " + std::to_string(min) + " to " + std::to_string(max));
    }
    *out = value;
  }
  // "key=value,key=value", values percent-encoded.
  Pairs List(const char* name, const std::string& text) {
    Pairs pairs;
    for (std::string_view rest = text; !rest.empty();) {
      const size_t comma = std::min(rest.find(','), rest.size());
      const std::string_view pair = Trim(rest.substr(0, comma));
      rest.remove_prefix(std::min(comma + 1, rest.size()));
      if (pair.empty()) continue;
      const size_t equals = pair.find('=');
      if (equals == std::string_view::npos || equals == 0) {
        Fail(name, "(not shown)", "key=value pairs with commas between them");
        return {};
      }
      const std::string value = Decode(Trim(pair.substr(equals + 1)));
      // What would end the header's line is an attempt at something else.
      if (value.find_first_of("\r\n") != std::string::npos) {
        Fail(name, "(not shown)", "values without line ends");
        return {};
      }
      pairs.emplace_back(Trim(pair.substr(0, equals)), value);
    }
    return pairs;
  }
  void Fail(std::string_view name, const std::string& value, const std::string& expected) {
    if (status_.ok()) {
      status_ =
          base::InvalidInput({.field = std::string(name), .value = value, .expected = expected});
    }
  }
  const absl::Status& status() const { return status_; }

 private:
  const Environment& environment_;
  absl::Status status_;
};

std::string FindUrl(const TraceChoice& choice, const Reader& reader) {
  std::string base = choice.endpoint;
  if (base.empty()) {
    if (const std::string own = reader.Text("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"); !own.empty()) {
      return own;
    }
    base = reader.Text("OTEL_EXPORTER_OTLP_ENDPOINT");
  }
  if (base.empty()) return "";
  while (base.ends_with('/')) base.pop_back();
  return base.ends_with("/v1/traces") ? base : base + "/v1/traces";
}

void ReadSampler(const TraceChoice& choice, Reader* reader, Sampler* out) {
  std::string name = choice.sampler.empty() ? reader->Text("OTEL_TRACES_SAMPLER") : choice.sampler;
  if (name.empty()) name = "parentbased_always_on";
  double ratio = choice.sampler_ratio;
  if (ratio < 0) {
    ratio = 1;
    const std::string text = reader->Text("OTEL_TRACES_SAMPLER_ARG");
    if (!text.empty() && name.ends_with("traceidratio")) {
      const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ratio);
      if (error != std::errc() || end != text.data() + text.size() || !(ratio >= 0) || ratio > 1) {
        reader->Fail("OTEL_TRACES_SAMPLER_ARG", text, "a number from 0 to 1");
      }
    }
  }
  if (const auto sampler = SamplerByName(name, ratio)) {
    *out = *sampler;
  } else {
    reader->Fail("OTEL_TRACES_SAMPLER", name,
                 "always_on, always_off, traceidratio, or one of these behind parentbased_");
  }
}

void ReadResource(Reader* reader, Pairs* out) {
  *out = reader->List("OTEL_RESOURCE_ATTRIBUTES", reader->Text("OTEL_RESOURCE_ATTRIBUTES"));
  std::string name = reader->Text("OTEL_SERVICE_NAME");
  const auto is_name = [](const auto& pair) { return pair.first == "service.name"; };
  if (name.empty() && std::none_of(out->begin(), out->end(), is_name)) name = "inhouse";
  if (name.empty()) return;
  std::erase_if(*out, is_name);
  out->insert(out->begin(), {"service.name", name});
}

}  // namespace

absl::StatusOr<std::optional<TraceSettings>> ReadTraceSettings(const TraceChoice& choice,
                                                               const Environment& environment) {
  Reader reader(environment);
  TraceSettings settings;
  settings.url = FindUrl(choice, reader);
  std::string disabled = reader.Text("OTEL_SDK_DISABLED");
  for (char& c : disabled) c = static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
  if (settings.url.empty() || disabled == "true" || reader.Text("OTEL_TRACES_EXPORTER") == "none") {
    return std::nullopt;
  }
  if (!settings.url.starts_with("http://") && !settings.url.starts_with("https://")) {
    reader.Fail("--otlp-endpoint", settings.url, "http://host:port or https://host:port");
  }
  // A collector takes JSON wherever it takes protobuf over HTTP, but not on its gRPC port.
  if (const std::string protocol = reader.Signal("PROTOCOL"); protocol == "grpc") {
    reader.Fail("OTEL_EXPORTER_OTLP_PROTOCOL", protocol,
                "http/json: traces are sent over HTTP (collectors listen at port 4318)");
  }
  settings.headers = reader.List("OTEL_EXPORTER_OTLP_HEADERS", reader.Signal("HEADERS"));
  ReadResource(&reader, &settings.resource);
  ReadSampler(choice, &reader, &settings.sampler);
  constexpr int64_t kMany = 1'000'000;
  reader.Number("OTEL_BSP_MAX_QUEUE_SIZE", 1, kMany, &settings.queue_max);
  reader.Number("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", 1, kMany, &settings.batch_max);
  reader.Number("OTEL_BSP_SCHEDULE_DELAY", 1, kMany, &settings.delay_ms);
  reader.Number("OTEL_EXPORTER_OTLP_TIMEOUT", 1, kMany, &settings.timeout_ms);
  reader.Number("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", 1, kMany, &settings.timeout_ms);
  INHOUSE_RETURN_IF_ERROR(reader.status());
  return settings;
}

}  // namespace inhouse::monitoring
