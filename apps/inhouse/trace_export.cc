#include "apps/inhouse/trace_export.h"

#include <cstdlib>
#include <utility>
#include <vector>

#include "base/log.h"
#include "base/status.h"
#include "lifecycle/hub/http.h"

namespace inhouse::apps {
namespace {

using lifecycle::HttpClient;

monitoring::ExportTransport HttpTransport(const monitoring::TraceSettings& settings) {
  lifecycle::HttpRequest request{.url = settings.url,
                                 .headers = {"Content-Type: application/json"}};
  for (const auto& [key, value] : settings.headers) request.headers.push_back(key + ": " + value);
  const double seconds = static_cast<double>(settings.timeout_ms) / 1000;
  return [request, seconds](const std::string& body, const std::function<bool()>& cancelled) {
    // One connection for each export: they are seconds apart, and collectors come and go.
    HttpClient client(
        {.connect_seconds = seconds, .stall_seconds = seconds, .cancelled = cancelled});
    const absl::StatusOr<HttpClient::Answer> answer = client.Post(request, body);
    if (!answer.ok()) {
      spdlog::debug("traces: {}", base::Message(answer.status()));
      return monitoring::ExportAnswer{};
    }
    return monitoring::ExportAnswer{.status = static_cast<int>(answer->status),
                                    .retry_after_seconds = answer->retry_after_seconds};
  };
}

}  // namespace

absl::StatusOr<std::shared_ptr<monitoring::Tracer>> OpenTracer(
    const monitoring::TraceChoice& choice, const std::string& version) {
  INHOUSE_ASSIGN_OR_RETURN(const auto settings,
                           monitoring::ReadTraceSettings(choice, [](const char* name) {
                             return static_cast<const char*>(std::getenv(name));
                           }));
  if (!settings) return std::shared_ptr<monitoring::Tracer>();
  INHOUSE_RETURN_IF_ERROR(lifecycle::UrlOrigin(settings->url).status());
  spdlog::info("traces go to {}, without content", lifecycle::PrintableUrl(settings->url));
  return std::make_shared<monitoring::Tracer>(*settings, version, HttpTransport(*settings));
}

}  // namespace inhouse::apps
