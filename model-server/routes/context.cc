#include "model-server/routes/context.h"

#include <algorithm>
#include <cmath>

#include "fmt/format.h"

namespace inhouse::model_server {

int Context::RetryAfterSeconds() const {
  const ModelRef model = models.current();
  if (model == nullptr) return 5;
  const engine::EngineStats stats = model->engine->stats();
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

std::optional<ApiError> CheckServing(const Context& context) {
  switch (context.state.load()) {
    case ServingState::kReady:
      return std::nullopt;
    case ServingState::kLoading:
      return Unavailable(fmt::format("The model is being loaded ({} %).", context.load_percent), 5);
    case ServingState::kReplacing:
      return Unavailable(
          fmt::format("The model is being replaced ({} %).", context.load_percent.load()), 5);
    case ServingState::kDraining:
      return Unavailable("The server is shutting down and takes no new requests.", 5);
  }
  return std::nullopt;
}

ApiError NoModel(const Context& context) {
  // Between the two questions a model may have come.
  return CheckServing(context).value_or(Unavailable("The model is being replaced.", 1));
}

}  // namespace inhouse::model_server
