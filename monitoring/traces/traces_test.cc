#include <gtest/gtest.h>

#include <map>

#include "absl/synchronization/notification.h"
#include "base/status.h"
#include "monitoring/traces/settings.h"
#include "monitoring/traces/span.h"
#include "monitoring/traces/trace_context.h"
#include "monitoring/traces/tracer.h"
#include "nlohmann/json.hpp"

namespace inhouse::monitoring {
namespace {

constexpr char kParent[] = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

TEST(TraceContextTest, ReadsTraceparent) {
  const auto parent = ParseTraceparent(kParent);
  ASSERT_TRUE(parent);
  EXPECT_EQ(parent->trace_id, "4bf92f3577b34da6a3ce929d0e0e4736");
  EXPECT_EQ(parent->span_id, "00f067aa0ba902b7");
  EXPECT_TRUE(parent->sampled);
  EXPECT_FALSE(
      ParseTraceparent("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-02")->sampled);
  // A version of the future may say more, and is read as far as we know it.
  EXPECT_TRUE(ParseTraceparent("cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-what"));
}

TEST(TraceContextTest, RefusesWhatIsNone) {
  for (const char* header : {"", "00", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7",
                             "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
                             "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
                             "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-more",
                             "cc-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01.what",
                             "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-0g",
                             "00_4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}) {
    EXPECT_FALSE(ParseTraceparent(header)) << header;
  }
  EXPECT_EQ(CleanTracestate("a=1,b=2"), "a=1,b=2");
  EXPECT_EQ(CleanTracestate("a=\x01"), "");
  EXPECT_EQ(CleanTracestate(std::string(513, 'a')), "");
}

TEST(TraceContextTest, IdsAreNewEachTime) {
  EXPECT_EQ(NewTraceId().size(), 32U);
  EXPECT_EQ(NewSpanId().size(), 16U);
  EXPECT_NE(NewTraceId(), NewTraceId());
}

TEST(SamplerTest, ByName) {
  const auto parent = ParseTraceparent(kParent);
  auto unsampled = parent;
  unsampled->sampled = false;
  const std::string low = std::string(16, 'f') + std::string(16, '0');
  const std::string high(32, 'f');
  EXPECT_TRUE(SamplerByName("always_on", 1)->Keep(low, unsampled));
  EXPECT_FALSE(SamplerByName("always_off", 1)->Keep(low, parent));
  EXPECT_FALSE(SamplerByName("parentbased_always_on", 1)->Keep(low, unsampled));
  EXPECT_TRUE(SamplerByName("parentbased_always_off", 1)->Keep(low, parent));
  EXPECT_FALSE(SamplerByName("parentbased_always_off", 1)->Keep(low, std::nullopt));
  EXPECT_TRUE(SamplerByName("traceidratio", 0.5)->Keep(low, std::nullopt));
  EXPECT_FALSE(SamplerByName("traceidratio", 0.5)->Keep(high, std::nullopt));
  EXPECT_TRUE(SamplerByName("traceidratio", 1)->Keep(high, std::nullopt));
  EXPECT_FALSE(SamplerByName("traceidratio", 0)->Keep(low, std::nullopt));
  EXPECT_FALSE(SamplerByName("sometimes", 1));
}

absl::StatusOr<std::optional<TraceSettings>> Read(
    const std::map<std::string, std::string>& variables, const TraceChoice& choice = {}) {
  return ReadTraceSettings(choice, [&variables](const char* name) {
    const auto it = variables.find(name);
    return it == variables.end() ? nullptr : it->second.c_str();
  });
}

TEST(TraceSettingsTest, OffUnlessAnEndpointIsNamed) {
  EXPECT_FALSE(*Read({}));
  EXPECT_FALSE(*Read({{"OTEL_SERVICE_NAME", "x"}, {"OTEL_EXPORTER_OTLP_ENDPOINT", " "}}));
  EXPECT_FALSE(
      *Read({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, {"OTEL_SDK_DISABLED", "TRUE"}}));
  EXPECT_FALSE(
      *Read({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"}, {"OTEL_TRACES_EXPORTER", "none"}}));
}

TEST(TraceSettingsTest, AsTheSpecificationNamesThem) {
  const auto read = Read({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318/"},
                          {"OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x, b = 2"},
                          {"OTEL_SERVICE_NAME", "chat"},
                          {"OTEL_RESOURCE_ATTRIBUTES", "service.name=no,site=b%C3%A9"},
                          {"OTEL_TRACES_SAMPLER", "parentbased_traceidratio"},
                          {"OTEL_TRACES_SAMPLER_ARG", "0.25"},
                          {"OTEL_BSP_MAX_QUEUE_SIZE", "7"}});
  ASSERT_TRUE(read.ok() && *read) << read.status();
  const TraceSettings& settings = **read;
  using Pairs = std::vector<std::pair<std::string, std::string>>;
  EXPECT_EQ(settings.url, "http://c:4318/v1/traces");
  EXPECT_EQ(settings.headers, (Pairs{{"authorization", "Bearer x"}, {"b", "2"}}));
  EXPECT_EQ(settings.resource, (Pairs{{"service.name", "chat"}, {"site", "bé"}}));
  EXPECT_TRUE(settings.sampler.parent_based);
  EXPECT_EQ(settings.sampler.ratio, 0.25);
  EXPECT_EQ(settings.queue_max, 7);
  // What is for traces alone goes first, and as it stands.
  EXPECT_EQ((*Read({{"OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318"},
                    {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"}}))
                ->url,
            "http://t/x");
  // The operator's own word goes before the environment.
  EXPECT_EQ((*Read({{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://t/x"}},
                   {.endpoint = "https://d:4318", .sampler = "always_off"}))
                ->url,
            "https://d:4318/v1/traces");
}

TEST(TraceSettingsTest, NamesWhatIsWrong) {
  const auto field = [](std::map<std::string, std::string> variables) {
    variables.emplace("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318");
    return base::ErrorField(Read(variables).status()).value_or("none");
  };
  EXPECT_EQ(field({}), "none");
  EXPECT_EQ(field({{"OTEL_TRACES_SAMPLER", "x"}}), "OTEL_TRACES_SAMPLER");
  EXPECT_EQ(field({{"OTEL_TRACES_SAMPLER", "traceidratio"}, {"OTEL_TRACES_SAMPLER_ARG", "2"}}),
            "OTEL_TRACES_SAMPLER_ARG");
  EXPECT_EQ(field({{"OTEL_EXPORTER_OTLP_HEADERS", "nothing"}}), "OTEL_EXPORTER_OTLP_HEADERS");
  EXPECT_EQ(field({{"OTEL_EXPORTER_OTLP_HEADERS", "a=b%0d%0ax: y"}}), "OTEL_EXPORTER_OTLP_HEADERS");
  EXPECT_EQ(field({{"OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"}}), "OTEL_EXPORTER_OTLP_PROTOCOL");
  EXPECT_EQ(field({{"OTEL_BSP_SCHEDULE_DELAY", "0"}}), "OTEL_BSP_SCHEDULE_DELAY");
  EXPECT_EQ(field({{"OTEL_EXPORTER_OTLP_ENDPOINT", "c:4318"}}), "--otlp-endpoint");
}

TEST(OtlpJsonTest, FollowsTheMapping) {
  const Span span{.trace_id = "4bf92f3577b34da6a3ce929d0e0e4736",
                  .span_id = "00f067aa0ba902b7",
                  .name = "chat \xff",
                  .kind = Span::Kind::kServer,
                  .start_ns = 1'700'000'000'000'000'001,
                  .end_ns = 1'700'000'000'000'000'002,
                  .attributes = {{"i", int64_t{1} << 60}, {"b", true}, {"d", 0.5}},
                  .failed = true};
  const auto json = nlohmann::json::parse(OtlpJson({{"service.name", "x"}}, "1", {&span, 1}));
  const auto& read = json["resourceSpans"][0]["scopeSpans"][0]["spans"][0];
  EXPECT_EQ(read["traceId"], span.trace_id);
  EXPECT_FALSE(read.contains("parentSpanId"));
  EXPECT_EQ(read["kind"], 2);
  EXPECT_EQ(read["startTimeUnixNano"], "1700000000000000001");
  EXPECT_EQ(read["attributes"][0]["value"]["intValue"], "1152921504606846976");
  EXPECT_EQ(read["attributes"][1]["value"]["boolValue"], true);
  EXPECT_EQ(read["status"]["code"], 2);
  EXPECT_EQ(read["name"], "chat \xef\xbf\xbd");
}

TEST(TracerTest, ExportsTriesAgainAndCounts) {
  std::vector<int> statuses = {503, 200, 400};
  absl::Notification done;
  size_t calls = 0;
  TraceSettings settings{.url = "http://c", .queue_max = 3, .batch_max = 2, .delay_ms = 60'000};
  settings.timeout_ms = 1000;
  Tracer tracer(settings, "1", [&](const std::string&, const std::function<bool()>&) {
    const ExportAnswer answer{.status = statuses[calls], .retry_after_seconds = 0.001};
    if (++calls == statuses.size()) done.Notify();
    return answer;
  });
  tracer.Add(std::vector<Span>(4));  // more than the queue holds: all or nothing
  EXPECT_EQ(tracer.stats().dropped, 4);
  tracer.Add(std::vector<Span>(2));
  while (tracer.stats().exported < 2) {
  }
  tracer.Add(std::vector<Span>(2));
  done.WaitForNotification();
  while (tracer.stats().failed < 2) {
  }
}

TEST(TracerTest, SendsWhatWaitsAtTheEnd) {
  int bodies = 0;
  {
    Tracer tracer({.url = "http://c", .delay_ms = 60'000}, "1",
                  [&](const std::string&, const std::function<bool()>&) {
                    ++bodies;
                    return ExportAnswer{.status = 200};
                  });
    tracer.Add(std::vector<Span>(1));
  }
  EXPECT_EQ(bodies, 1);
}

}  // namespace
}  // namespace inhouse::monitoring
