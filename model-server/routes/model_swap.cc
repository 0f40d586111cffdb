#include "model-server/routes/model_swap.h"

#include <algorithm>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "base/log.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/routes/carry_over.h"

namespace inhouse::model_server {
namespace {

constexpr auto kPoll = absl::Milliseconds(100);  // how soon a wait hears of the end

double Now() { return static_cast<double>(absl::ToUnixMicros(absl::Now())) / 1e6; }

KnownModel Known(const ServedModel& model) {
  return {.source = model.source,
          .options = model.options,
          .context_tokens = model.engine->info().context_tokens};
}

}  // namespace

std::string_view Name(SwapPhase phase) {
  switch (phase) {
    case SwapPhase::kChecking:
      return "checking";
    case SwapPhase::kWaiting:
      return "waiting";
    case SwapPhase::kLoading:
      return "loading";
    case SwapPhase::kDone:
      return "done";
    case SwapPhase::kFailed:
      return "failed";
  }
  return "";
}

void ModelSwap::SetLoader(std::shared_ptr<ModelLoader> loader) {
  absl::MutexLock lock(&mutex_);
  loader_ = std::move(loader);
}

ModelRef ModelSwap::NewModel(const std::string& source, const engine::EngineOptions& options,
                             std::unique_ptr<engine::Engine> engine) {
  ServedModel model = Present(source, options, std::move(engine), context_->options);
  {
    absl::MutexLock lock(&mutex_);
    if (names_.empty()) names_ = model.names;
    model.names = names_;
  }
  return context_->models.Adopt(std::move(model));
}

void ModelSwap::Describe(const ServedModel& model) {
  const engine::ModelInfo& info = model.engine->info();
  context_->metrics->DescribeModel({.name = model.names.front(),
                                    .architecture = info.architecture,
                                    .isa = info.isa,
                                    .context_tokens = info.context_tokens,
                                    .path = info.path,
                                    .fingerprint = model.fingerprint});
}

void ModelSwap::Begin(const std::string& source, const engine::EngineOptions& options,
                      std::unique_ptr<engine::Engine> engine) {
  const ModelRef model = NewModel(source, options, std::move(engine));
  Describe(*model);
  context_->models.Set(model);
  absl::MutexLock lock(&mutex_);
  serving_ = Known(*model);
}

absl::Status ModelSwap::Start(SwapRequest request, Listener checked, Listener ended) {
  auto job = std::make_shared<Job>(
      Job{.request = std::move(request), .checked = std::move(checked), .ended = std::move(ended)});
  {
    absl::MutexLock lock(&mutex_);
    if (loader_ == nullptr || stopping_ || serving_.source.empty()) {
      return absl::UnavailableError("no model can be loaded now");
    }
    if (last_ && last_->running()) {
      return absl::AlreadyExistsError(
          fmt::format("swap {} to '{}' is under way", last_->number, last_->to));
    }
    const int64_t number = last_ ? last_->number + 1 : 1;
    last_ = SwapReport{
        .number = number, .from = serving_.source, .to = job->request.model, .started = Now()};
  }
  // Never refused: the place was taken above, so there is one at most.
  context_->loader->AddLast([this, job] { Run(std::move(*job)); });
  return absl::OkStatus();
}

std::optional<SwapReport> ModelSwap::last() const {
  absl::MutexLock lock(&mutex_);
  std::optional<SwapReport> report = last_;
  if (report && report->phase == SwapPhase::kLoading) report->percent = context_->load_percent;
  return report;
}

std::optional<KnownModel> ModelSwap::previous() const {
  absl::MutexLock lock(&mutex_);
  return previous_;
}

bool ModelSwap::running() const {
  absl::MutexLock lock(&mutex_);
  return last_ && last_->running();
}

void ModelSwap::Stop() {
  absl::MutexLock lock(&mutex_);
  stopping_ = true;
}

void ModelSwap::SetPhase(SwapPhase phase) {
  absl::MutexLock lock(&mutex_);
  last_->phase = phase;
}

void ModelSwap::Announce(Job* job) {
  if (std::exchange(job->announced, true)) return;
  job->checked(*last());
}

void ModelSwap::Run(Job job) {
  const absl::Status status = TryRun(&job);
  {
    absl::MutexLock lock(&mutex_);
    last_->phase = status.ok() ? SwapPhase::kDone : SwapPhase::kFailed;
    last_->status = status;
    last_->ended = Now();
  }
  const SwapReport report = *last();
  const char* outcome = status.ok() ? "done" : (job.announced ? "failed" : "refused");
  context_->metrics->OnSwap(outcome);
  if (status.ok()) {
    spdlog::info("swap {}: {} answers instead of {}, after {:.1f} s", report.number, report.to,
                 report.from, report.ended - report.started);
  } else {
    spdlog::error("swap {} to {} {}: {}", report.number, report.to, outcome, base::Message(status));
  }
  const bool was_announced = job.announced;
  Announce(&job);
  if (was_announced || status.ok()) job.ended(report);
}

absl::Status ModelSwap::TryRun(Job* job) {
  if (!job->request.rollback) return LoadAndTakeOver(job, context_->models.current());
  ModelRef resident;
  {
    absl::MutexLock lock(&mutex_);
    if (!previous_) {
      return base::InputError(absl::StatusCode::kFailedPrecondition,
                              {.field = "rollback",
                               .expected = "a model that was served before",
                               .hint = "No other model has answered since the start."});
    }
    job->request.model = last_->to = previous_->source;
    job->request.options = previous_->options;
    job->request.trusted = true;  // it was, when it was loaded
    resident = previous_->resident;
  }
  if (resident != nullptr) return RollBackAtOnce(std::move(resident));
  // What was loaded since stays; what the previous one was begun with is in there, too.
  job->request.options->adapters.clear();
  return LoadAndTakeOver(job, context_->models.current());
}

absl::Status ModelSwap::RollBackAtOnce(ModelRef resident) {
  if (const ModelRef serving = context_->models.current(); serving != nullptr) {
    MatchAdapters(*serving, *resident);
  }
  return TakeOver(resident, /*keep_previous=*/true);
}

// What the system counts as free, or as taken, and will not be.
int64_t ModelSwap::MemoryOffset(const ModelRef& serving, bool unload_first) const {
  const std::optional<KnownModel> previous = this->previous();
  int64_t offset = 0;
  for (const ModelRef& model : context_->models.living()) {
    // A model that waits for a rollback makes room first.
    const bool goes =
        (previous && model == previous->resident) || (unload_first && model == serving);
    const Memory memory = MemoryOf(*model);
    offset += goes ? memory.held : -memory.promised;
  }
  return offset;
}

engine::EngineOptions ModelSwap::AskedOptions(const SwapRequest& request, const ModelRef& serving,
                                              const engine::EngineOptions& basis) const {
  engine::EngineOptions asked = request.options.value_or(basis);
  // A file of packed weights belongs to one model.
  if (!request.options && asked.packed != "off") asked.packed.clear();
  asked.model = request.model;
  asked.adapters =
      CarryOver(serving, basis.adapters, request.adapters_gone,
                request.options ? request.options->adapters : std::vector<engine::AdapterSource>());
  asked.adapters_max = std::max(asked.adapters_max, static_cast<int>(asked.adapters.size()));
  return asked;
}

absl::Status ModelSwap::LoadAndTakeOver(Job* job, ModelRef serving) {
  const SwapRequest& request = job->request;
  std::shared_ptr<ModelLoader> loader;
  ModelLoader::Wanted wanted{.model = request.model, .trusted = request.trusted};
  engine::EngineOptions basis;
  {
    absl::MutexLock lock(&mutex_);
    loader = loader_;
    basis = serving_.options;
    wanted.context_least =
        request.rollback && previous_ ? previous_->context_tokens : serving_.context_tokens;
  }
  const engine::EngineOptions asked = AskedOptions(request, serving, basis);
  wanted.options = asked;
  wanted.memory_offset = MemoryOffset(serving, request.unload_first);
  absl::StatusOr<engine::EngineOptions> exact = loader->Plan(wanted);
  // Adapters must not keep a rollback from happening: then they come one by one, those that fit.
  const bool one_by_one = request.rollback && !asked.adapters.empty();
  if (!exact.ok() && one_by_one) {
    wanted.options.adapters.clear();
    exact = loader->Plan(wanted);
  }
  INHOUSE_RETURN_IF_ERROR(exact.status());
  if (stopping_) return absl::UnavailableError("the server is shutting down");
  Announce(job);
  INHOUSE_RETURN_IF_ERROR(FreePrevious(request.wait_seconds));
  const bool unloads = request.unload_first && serving != nullptr;
  if (unloads) {
    {
      absl::MutexLock lock(&mutex_);
      serving_.options.adapters = AdaptersOf(*serving);
    }
    INHOUSE_RETURN_IF_ERROR(Unload(std::move(serving), request.wait_seconds));
  }
  serving.reset();
  absl::StatusOr<ModelRef> next = Load(request.model, asked, *exact);
  if (!next.ok() && one_by_one && !exact->adapters.empty()) {
    exact->adapters.clear();
    next = Load(request.model, asked, *exact);
  }
  absl::Status status = next.status();
  if (next.ok()) {
    if (one_by_one && exact->adapters.empty()) AddAdapters(asked.adapters, **next);
    status = TakeOver(*next, request.keep_previous);
  }
  if (!status.ok() && unloads) LoadAgain();
  return status;
}

absl::Status ModelSwap::FreePrevious(double wait_seconds) {
  ModelRef resident;
  {
    absl::MutexLock lock(&mutex_);
    if (previous_) resident = std::move(previous_->resident);
  }
  if (resident == nullptr) return absl::OkStatus();
  const uint64_t number = resident->number;
  resident.reset();
  // Answers that have begun with it may go on; its memory was counted as free.
  SetPhase(SwapPhase::kWaiting);
  const absl::Time deadline = absl::Now() + absl::Seconds(wait_seconds);
  while (!context_->models.AwaitFreed(number, kPoll)) {
    if (stopping_) return absl::UnavailableError("the server is shutting down");
    if (absl::Now() > deadline) {
      return absl::DeadlineExceededError(fmt::format(
          "answers of the model before the serving one did not end within {} s", wait_seconds));
    }
  }
  return absl::OkStatus();
}

absl::Status ModelSwap::Unload(ModelRef serving, double wait_seconds) {
  SetPhase(SwapPhase::kWaiting);
  ServingState ready = ServingState::kReady;
  context_->load_percent = 0;
  if (!context_->state.compare_exchange_strong(ready, ServingState::kReplacing) &&
      ready != ServingState::kReplacing) {
    return absl::UnavailableError("the server is shutting down");
  }
  const uint64_t number = serving->number;
  const std::weak_ptr<const ServedModel> weak = serving;
  context_->models.Set(nullptr);
  serving.reset();
  const absl::Time deadline = absl::Now() + absl::Seconds(wait_seconds);
  while (!context_->models.AwaitFreed(number, kPoll)) {
    const bool stopping = stopping_;
    if (!stopping && absl::Now() < deadline) continue;
    ModelRef again = weak.lock();
    if (again == nullptr) continue;  // let go just now: it is being freed
    context_->models.Set(std::move(again));
    ServingState replacing = ServingState::kReplacing;
    context_->state.compare_exchange_strong(replacing, ServingState::kReady);
    if (stopping) return absl::UnavailableError("the server is shutting down");
    return absl::DeadlineExceededError(fmt::format(
        "answers that had begun did not end within {} s; the model serves on", wait_seconds));
  }
  return absl::OkStatus();
}

absl::StatusOr<ModelRef> ModelSwap::Load(const std::string& source,
                                         const engine::EngineOptions& asked,
                                         const engine::EngineOptions& exact) {
  std::shared_ptr<ModelLoader> loader;
  {
    absl::MutexLock lock(&mutex_);
    loader = loader_;
  }
  context_->load_percent = 0;
  SetPhase(SwapPhase::kLoading);
  const auto progress = [this](int64_t done, int64_t total) {
    context_->load_percent = total <= 0 ? 0 : static_cast<int>(100 * done / total);
    return !stopping_;
  };
  INHOUSE_ASSIGN_OR_RETURN(auto engine, loader->Load(exact, progress));
  if (engine->tokenizer() == nullptr) {
    return base::InvalidInput({.file = engine->info().path,
                               .expected = "a tokenizer (tokenizer.json, or in the GGUF file)"});
  }
  return NewModel(source, asked, std::move(engine));
}

// The model that made room in vain comes back.
void ModelSwap::LoadAgain() {
  if (stopping_) return;
  KnownModel serving;
  std::shared_ptr<ModelLoader> loader;
  {
    absl::MutexLock lock(&mutex_);
    serving = serving_;
    loader = loader_;
  }
  spdlog::warn("{} is loaded again", serving.source);
  const auto exact = loader->Plan({.model = serving.source,
                                   .trusted = true,
                                   .options = serving.options,
                                   .context_least = serving.context_tokens});
  absl::Status status = exact.status();
  if (status.ok()) {
    const absl::StatusOr<ModelRef> model = Load(serving.source, serving.options, *exact);
    status = model.status();
    if (status.ok()) {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      context_->models.Set(*model);
      ServingState replacing = ServingState::kReplacing;
      context_->state.compare_exchange_strong(replacing, ServingState::kReady);
    }
  }
  if (!status.ok()) {
    spdlog::critical("no model answers any more, until another one is swapped in: {}",
                     base::Message(status));
  }
}

absl::Status ModelSwap::TakeOver(const ModelRef& next, bool keep_previous) {
  ModelRef before;  // freed, if it is, without the lock
  absl::MutexLock lock(&mutex_);
  if (stopping_) return absl::UnavailableError("the server is shutting down");
  Describe(*next);
  before = context_->models.Set(next);
  previous_ = std::move(serving_);
  previous_->resident = keep_previous ? before : nullptr;
  serving_ = Known(*next);
  ServingState replacing = ServingState::kReplacing;
  context_->state.compare_exchange_strong(replacing, ServingState::kReady);
  return absl::OkStatus();
}

}  // namespace inhouse::model_server
