#include "model-server/routes/context.h"

#include <algorithm>
#include <cmath>
#include <random>

#include "fmt/format.h"

namespace inhouse::model_server {

bool ServedModel::IsNamed(std::string_view name) const {
  return std::find(names.begin(), names.end(), name) != names.end();
}

std::optional<engine::AdapterInfo> ServedModel::FindAdapter(std::string_view name) const {
  std::string_view wanted = name;
  for (const std::string& base : names) {
    if (name.size() > base.size() && name.starts_with(base) && name[base.size()] == ':') {
      wanted = name.substr(base.size() + 1);
      break;
    }
  }
  for (engine::AdapterInfo& info : engine->adapters()) {
    if (info.name == wanted) return std::move(info);
  }
  return std::nullopt;
}

int Context::RetryAfterSeconds() const {
  if (model.engine == nullptr) return 5;
  const engine::EngineStats stats = model.engine->stats();
  return QueueSeconds(answer_seconds, stats.running, stats.waiting);
}

void Context::OnAnswer(double seconds) {
  const double mean = answer_seconds;
  answer_seconds = mean == 0 ? seconds : 0.9 * mean + 0.1 * seconds;
}

int QueueSeconds(double answer_seconds, int64_t running, int64_t waiting) {
  const double turns = static_cast<double>(waiting + 1) /  // the one that asks comes last
                       static_cast<double>(std::max<int64_t>(running, 1));
  return static_cast<int>(std::clamp(std::ceil(answer_seconds * turns), 1.0, 3600.0));
}

AnswerHead Context::NewHead(std::string_view id_prefix, const std::string& name,
                            const GenerateParams& params) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {
      .id = std::string(id_prefix) + (params.request_id.empty() ? RandomId() : params.request_id),
      .created = std::chrono::duration_cast<std::chrono::seconds>(now).count(),
      .model = name,
      .fingerprint = params.adapter.empty() ? model.fingerprint
                                            : model.fingerprint + "-" + params.adapter_fingerprint};
}

std::optional<ApiError> CheckServing(const Context& context) {
  switch (context.state.load()) {
    case ServingState::kReady:
      return std::nullopt;
    case ServingState::kLoading:
      return Unavailable(fmt::format("The model is being loaded ({} %).", context.load_percent), 5);
    case ServingState::kDraining:
      return Unavailable("The server is shutting down and takes no new requests.", 5);
  }
  return std::nullopt;
}

std::string RandomId() {
  thread_local std::random_device device;
  return fmt::format("{:08x}{:08x}{:08x}", device(), device(), device());
}

}  // namespace inhouse::model_server
