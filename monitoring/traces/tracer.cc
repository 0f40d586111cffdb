#include "monitoring/traces/tracer.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "base/log.h"

namespace inhouse::monitoring {
namespace {

constexpr int kTriesMax = 3;
constexpr double kRetrySecondsMax = 30;

// What the protocol says to send again.
bool WorthAnotherTry(int status) {
  return status == 0 || status == 429 || status == 502 || status == 503 || status == 504;
}

}  // namespace

Tracer::Tracer(TraceSettings settings, std::string version, ExportTransport transport)
    : settings_(std::move(settings)),
      version_(std::move(version)),
      transport_(std::move(transport)) {
  for (const auto& [key, value] : settings_.resource) resource_.push_back({key, value});
  resource_.push_back({"service.version", version_});
  resource_.push_back({"telemetry.sdk.name", std::string("inhouse")});
  resource_.push_back({"telemetry.sdk.language", std::string("cpp")});
  resource_.push_back({"telemetry.sdk.version", version_});
  thread_ = std::thread([this] { Run(); });
}

Tracer::~Tracer() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    give_up_ = absl::Now() + absl::Milliseconds(settings_.timeout_ms);
  }
  thread_.join();
}

void Tracer::Add(std::vector<Span> spans) {
  absl::MutexLock lock(&mutex_);
  if (static_cast<int64_t>(waiting_.size() + spans.size()) > settings_.queue_max) {
    stats_.dropped += static_cast<int64_t>(spans.size());
    return;
  }
  for (Span& span : spans) waiting_.push_back(std::move(span));
}

TracerStats Tracer::stats() const {
  absl::MutexLock lock(&mutex_);
  return stats_;
}

bool Tracer::AwaitBatch(std::vector<Span>* batch) {
  absl::MutexLock lock(&mutex_);
  const auto full = [this]() ABSL_SHARED_LOCKS_REQUIRED(mutex_) {
    return stop_ || static_cast<int64_t>(waiting_.size()) >=
                        std::min(settings_.batch_max, settings_.queue_max);
  };
  mutex_.AwaitWithTimeout(absl::Condition(&full), absl::Milliseconds(settings_.delay_ms));
  const auto count = std::min<std::ptrdiff_t>(std::ssize(waiting_),
                                              static_cast<std::ptrdiff_t>(settings_.batch_max));
  batch->assign(std::make_move_iterator(waiting_.begin()),
                std::make_move_iterator(waiting_.begin() + count));
  waiting_.erase(waiting_.begin(), waiting_.begin() + count);
  return !stop_ || count > 0;
}

void Tracer::Run() {
  std::vector<Span> batch;
  while (AwaitBatch(&batch)) {
    if (!batch.empty()) Export(batch);
  }
}

bool Tracer::Sleep(double seconds) {
  absl::MutexLock lock(&mutex_);
  return !mutex_.AwaitWithTimeout(absl::Condition(&stop_), absl::Seconds(seconds));
}

void Tracer::Export(const std::vector<Span>& batch) {
  const std::string body = OtlpJson(resource_, version_, batch);
  const auto cancelled = [this] {
    absl::MutexLock lock(&mutex_);
    return absl::Now() > give_up_;
  };
  ExportAnswer answer;
  for (int tries = 1; !cancelled(); ++tries) {
    answer = transport_(body, cancelled);
    if (!WorthAnotherTry(answer.status) || tries == kTriesMax) break;
    const double wait = answer.retry_after_seconds > 0 ? answer.retry_after_seconds : tries;
    if (!Sleep(std::min(wait, kRetrySecondsMax))) break;
  }
  const bool taken = answer.status >= 200 && answer.status < 300;
  const auto count = static_cast<int64_t>(batch.size());
  bool first = false;
  {
    absl::MutexLock lock(&mutex_);
    first = !taken && stats_.failed == 0;
    (taken ? stats_.exported : stats_.failed) += count;
  }
  if (taken) return;
  // Said once aloud: a collector that is gone for a night must not fill the log.
  spdlog::log(first ? spdlog::level::warn : spdlog::level::debug,
              "{} spans were not taken by {} ({})", count, settings_.url,
              answer.status == 0 ? "no answer" : "HTTP " + std::to_string(answer.status));
}

}  // namespace inhouse::monitoring
