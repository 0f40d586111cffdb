#include "model-server/routes/served_model.h"

#include <algorithm>
#include <chrono>
#include <limits>
#include <utility>

#include "absl/time/clock.h"
#include "base/check.h"
#include "base/sha256.h"
#include "fmt/format.h"
#include "model-server/routes/context.h"
#include "model-server/routes/random_id.h"

namespace inhouse::model_server {
namespace {

constexpr size_t kNoLimit = std::numeric_limits<size_t>::max();

void AddCounters(const engine::EngineStats& from, engine::EngineStats* to) {
  to->prompt_tokens += from.prompt_tokens;
  to->generation_tokens += from.generation_tokens;
  to->prefix_queries += from.prefix_queries;
  to->prefix_hits += from.prefix_hits;
  to->disk_queries += from.disk_queries;
  to->disk_hits += from.disk_hits;
  to->disk_refused += from.disk_refused;
  to->disk_read_errors += from.disk_read_errors;
  to->disk_write_errors += from.disk_write_errors;
  to->disk_dropped += from.disk_dropped;
  to->steps += from.steps;
  to->preemptions += from.preemptions;
}

void AddGauges(const engine::EngineStats& from, engine::EngineStats* to) {
  to->running += from.running;
  to->waiting += from.waiting;
  to->kv_pages_used += from.kv_pages_used;
  to->kv_pages_cached += from.kv_pages_cached;
  to->kv_pages_total += from.kv_pages_total;
  to->disk_bytes += from.disk_bytes;
  to->disk_ready = to->disk_ready || from.disk_ready;
  to->oldest_waiting_seconds = std::max(to->oldest_waiting_seconds, from.oldest_waiting_seconds);
  to->adapters_max = std::max(to->adapters_max, from.adapters_max);
  for (const engine::AdapterUse& use : from.adapters) {
    auto same = std::find_if(to->adapters.begin(), to->adapters.end(),
                             [&use](const auto& other) { return other.name == use.name; });
    if (same == to->adapters.end()) {
      to->adapters.push_back(use);
    } else {
      same->running += use.running;
      same->waiting += use.waiting;
    }
  }
}

// Whatever changes the bytes of an answer: the weights, their precision, the kernels, the build.
std::string Fingerprint(const engine::ModelInfo& info, const AppOptions& app) {
  const std::string facts =
      fmt::format("{}|{}|{}|{}|{}|{}|{}|{}", info.name, info.bytes.weights, info.bytes.kv_type,
                  info.digest, info.isa, info.activation_bits, app.version, app.commit);
  base::Sha256 hash;
  hash.Update(facts);
  return "fp_" + hash.FinishHex().substr(0, 12);
}

std::string DefaultName(const engine::ModelInfo& info) {
  std::string name = info.name;
  if (name.ends_with(".gguf")) name.resize(name.size() - 5);
  return name;
}

}  // namespace

ServedModel Present(const std::string& source, const engine::EngineOptions& options,
                    std::unique_ptr<engine::Engine> engine, const AppOptions& app) {
  INHOUSE_CHECK(engine->tokenizer() != nullptr, "a server needs a tokenizer");
  const engine::ModelInfo& info = engine->info();
  ServedModel model{.source = source, .options = options, .names = app.served_names};
  if (model.names.empty()) model.names.push_back(DefaultName(info));
  model.bounds.sampling = info.default_sampling;
  model.bounds.vocab_size = info.vocab_size;
  if (app.client_priority) model.bounds.priority_min = std::numeric_limits<int>::min();
  model.fingerprint = Fingerprint(info, app);
  model.created = absl::ToUnixSeconds(absl::Now());
  model.engine = std::move(engine);
  return model;
}

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

AnswerHead ServedModel::NewHead(std::string_view id_prefix, const std::string& name,
                                const GenerateParams& params) const {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return {
      .id = std::string(id_prefix) + (params.request_id.empty() ? RandomId() : params.request_id),
      .created = std::chrono::duration_cast<std::chrono::seconds>(now).count(),
      .model = name,
      .fingerprint =
          params.adapter.empty() ? fingerprint : fingerprint + "-" + params.adapter_fingerprint};
}

// Shared with what the last holder of a model runs, which may be after the slot has ended.
struct ModelSlot::State {
  mutable absl::Mutex mutex;
  ModelRef current ABSL_GUARDED_BY(mutex);
  std::map<uint64_t, std::weak_ptr<ServedModel>> living ABSL_GUARDED_BY(mutex);
  std::map<uint64_t, bool> dying ABSL_GUARDED_BY(mutex);  // let go by all, not yet freed
  engine::EngineStats freed ABSL_GUARDED_BY(mutex);       // counters of those that are gone
  uint64_t numbers ABSL_GUARDED_BY(mutex) = 0;
  WorkQueue* reaper ABSL_GUARDED_BY(mutex) = nullptr;  // null: the slot has ended

  // Called by the last holder, on its thread.
  static void LetGo(const std::weak_ptr<State>& weak, ServedModel* model);
};

void ModelSlot::State::LetGo(const std::weak_ptr<State>& weak, ServedModel* model) {
  std::shared_ptr<ServedModel> owned(model);
  const auto state = weak.lock();
  if (state == nullptr) return;
  const uint64_t number = owned->number;
  absl::MutexLock lock(&state->mutex);
  state->living.erase(number);
  if (owned->engine != nullptr) AddCounters(owned->engine->stats(), &state->freed);
  if (state->reaper == nullptr) return;
  state->dying[number] = true;
  state->reaper->AddLast([weak, number, owned = std::move(owned)]() mutable {
    owned.reset();
    const auto after = weak.lock();
    if (after == nullptr) return;
    absl::MutexLock done(&after->mutex);
    after->dying.erase(number);
  });
}

ModelSlot::ModelSlot()
    : state_(std::make_shared<State>()), reaper_(std::make_unique<WorkQueue>(kNoLimit)) {
  absl::MutexLock lock(&state_->mutex);
  state_->reaper = reaper_.get();
}

ModelSlot::~ModelSlot() {
  StopAll();
  {
    absl::MutexLock lock(&state_->mutex);
    state_->reaper = nullptr;
  }
  reaper_.reset();
}

ModelRef ModelSlot::current() const {
  absl::MutexLock lock(&state_->mutex);
  return state_->current;
}

ModelRef ModelSlot::Adopt(ServedModel model) {
  auto* raw = new ServedModel(std::move(model));
  absl::MutexLock lock(&state_->mutex);
  raw->number = ++state_->numbers;
  std::shared_ptr<ServedModel> shared(
      raw, [weak = std::weak_ptr<State>(state_)](ServedModel* last) { State::LetGo(weak, last); });
  state_->living[raw->number] = shared;
  return shared;
}

ModelRef ModelSlot::Set(ModelRef next) {
  absl::MutexLock lock(&state_->mutex);
  return std::exchange(state_->current, std::move(next));
}

std::vector<ModelRef> ModelSlot::living() const {
  std::vector<ModelRef> models;  // outlives the lock: one of them may be the last holder's
  absl::MutexLock lock(&state_->mutex);
  for (const auto& [number, weak] : state_->living) {
    if (auto model = weak.lock()) models.push_back(std::move(model));
  }
  return models;
}

bool ModelSlot::AwaitFreed(uint64_t number, absl::Duration timeout) const {
  const State& state = *state_;
  const auto freed = [&state, number]() ABSL_SHARED_LOCKS_REQUIRED(state.mutex) {
    return !state.living.contains(number) && !state.dying.contains(number);
  };
  absl::MutexLock lock(&state.mutex);
  return state.mutex.AwaitWithTimeout(absl::Condition(&freed), timeout);
}

engine::EngineStats ModelSlot::Stats() const {
  const std::vector<ModelRef> models = living();
  const ModelRef serving = current();
  // What is neither a counter nor a gauge of all is told of the one that answers.
  engine::EngineStats sum = serving == nullptr ? engine::EngineStats{} : serving->engine->stats();
  {
    absl::MutexLock lock(&state_->mutex);
    AddCounters(state_->freed, &sum);
  }
  for (const ModelRef& model : models) {
    if (model == serving) continue;
    const engine::EngineStats stats = model->engine->stats();
    AddCounters(stats, &sum);
    AddGauges(stats, &sum);
  }
  return sum;
}

void ModelSlot::StopAll() {
  std::vector<std::shared_ptr<ServedModel>> models;
  ModelRef last;
  {
    absl::MutexLock lock(&state_->mutex);
    last = std::move(state_->current);
    for (const auto& [number, weak] : state_->living) {
      if (auto model = weak.lock()) models.push_back(std::move(model));
    }
  }
  for (const auto& model : models) model->engine.reset();
}

}  // namespace inhouse::model_server
