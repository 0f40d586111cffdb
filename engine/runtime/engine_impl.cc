#include "engine/runtime/engine_impl.h"

#include <algorithm>
#include <atomic>
#include <random>
#include <utility>

#include "absl/time/time.h"
#include "base/hmac.h"
#include "base/status.h"
#include "engine/runtime/check_request.h"

namespace inhouse::engine {
namespace {

// The caller's end of a request: only the cancel flag.
class SessionImpl final : public Session {
 public:
  explicit SessionImpl(std::shared_ptr<std::atomic<bool>> flag) : flag_(std::move(flag)) {}
  ~SessionImpl() override { Cancel(); }
  void Cancel() override { flag_->store(true, std::memory_order_relaxed); }

 private:
  std::shared_ptr<std::atomic<bool>> flag_;
};

// How often a disk is looked after that does not answer.
constexpr absl::Duration kDiskLook = absl::Seconds(1);

// What is found again after a restart needs the same secret after it.
std::string CacheSecret(const EngineOptions& options) {
  if (options.kv_disk_key.empty()) return base::RandomSecret(32);
  return std::string(base::AsText(base::HmacSha256(options.kv_disk_key, "inhouse prefix keys")));
}

}  // namespace

uint64_t RandomSeed() {
  std::random_device device;
  return static_cast<uint64_t>(device()) << 32 | device();
}

EngineImpl::EngineImpl(LoadedModel loaded)
    : loaded_(std::move(loaded)),
      cache_secret_(CacheSecret(loaded_.options)),
      pool_(loaded_.model->facts().page_bytes, loaded_.plan.pages),
      prefixes_(&pool_),
      scheduler_(loaded_.plan.limits, &prefixes_),
      pace_(loaded_.options.step_ms, loaded_.plan.limits.rows),
      grammars_(loaded_.tokenizer.get()) {
  own_stats_.kv_pages_total = pool_.total();
  own_stats_.adapters_max = loaded_.options.adapters_max;
  stats_ = own_stats_;
  if (loaded_.options.profile) loaded_.model->set_profile(&own_profile_);
  if (loaded_.disk) {
    loader_ = std::make_unique<PrefixLoader>(&prefixes_, std::move(loaded_.disk), [this] {
      absl::MutexLock lock(&mutex_);
      disk_news_ = true;
    });
  }
  thread_ = std::thread([this] { Loop(); });
}

EngineImpl::~EngineImpl() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
  }
  thread_.join();
}

absl::StatusOr<std::unique_ptr<Session>> EngineImpl::Submit(GenerateRequest request,
                                                            EventCallback on_event) {
  INHOUSE_RETURN_IF_ERROR(CheckRequest(loaded_.info, loaded_.tokenizer != nullptr, &request));
  std::shared_ptr<const LoadedAdapter> adapter;
  if (!request.adapter.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(adapter, loaded_.adapters->Find(request.adapter));
  }
  std::shared_ptr<Grammar> grammar;
  if (!request.grammar.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(grammar, grammars_.Get(request.grammar));
  }
  if (!request.sampling.seed) request.sampling.seed = RandomSeed();
  std::optional<PrefixKey> root;
  // A filling that was not computed is nobody's prefix.
  if (loaded_.options.prefix_cache && request.assume_cached == 0) {
    root =
        RootKey(cache_secret_, {.tenant = request.tenant,
                                .salt = request.cache_salt,
                                .identity = adapter != nullptr ? adapter->info.fingerprint : ""});
  }
  std::string tenant = request.tenant;
  const int priority = request.priority;
  auto inner =
      std::make_unique<Request>(std::move(request), std::move(on_event), loaded_.tokenizer.get(),
                                loaded_.info.end_tokens, *loaded_.kernels->elementwise);
  inner->sequence().root = root;
  inner->sequence().tenant = std::move(tenant);
  inner->sequence().priority = priority;
  if (adapter != nullptr) inner->UseAdapter(std::move(adapter));
  if (grammar) inner->Follow(std::move(grammar), *loaded_.tokenizer);
  auto session = std::make_unique<SessionImpl>(inner->cancel_flag());
  absl::MutexLock lock(&mutex_);
  if (draining_ || stop_)
    return absl::UnavailableError("the engine is shutting down and accepts no new requests");
  if (in_flight_ >= loaded_.options.queue_max + loaded_.options.max_sequences) {
    return base::InputError(absl::StatusCode::kResourceExhausted,
                            {.field = "queue",
                             .value = std::to_string(in_flight_) + " requests in flight",
                             .expected = "room for one more",
                             .hint = "Try again later."});
  }
  ++in_flight_;
  arrivals_.push_back(std::move(inner));
  return session;
}

absl::StatusOr<std::vector<std::vector<float>>> EngineImpl::Logits(std::span<const TokenId> ids,
                                                                   const LogitsOptions& options) {
  GenerateRequest check;
  check.prompt_ids.assign(ids.begin(), ids.end());
  check.max_tokens = 0;
  INHOUSE_RETURN_IF_ERROR(CheckRequest(loaded_.info, true, &check));
  LogitsJob job;
  if (!options.adapter.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(job.adapter, loaded_.adapters->Find(options.adapter));
    job.sequence.adapter = job.adapter->weights.get();
  }
  job.sequence.tokens = std::move(check.prompt_ids);
  job.sequence.prompt_tokens = static_cast<int64_t>(ids.size());
  job.sequence.all_logits = options.all;
  job.sequence.chunk_max = options.chunk;
  job.all = options.all;
  job.on_row = options.on_row;
  absl::MutexLock lock(&mutex_);
  if (draining_ || stop_) return absl::UnavailableError("the engine is shutting down");
  job_arrivals_.push_back(&job);
  mutex_.Await(absl::Condition(&job.done));
  return std::move(job.rows);
}

void EngineImpl::Drain(double seconds_max) {
  absl::MutexLock lock(&mutex_);
  draining_ = true;
  const auto idle = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return in_flight_ == 0; };
  mutex_.AwaitWithTimeout(absl::Condition(&idle), absl::Seconds(seconds_max));
}

EngineStats EngineImpl::stats() const {
  absl::MutexLock lock(&mutex_);
  EngineStats stats = stats_;
  // Whatever was submitted, has not ended and does not run waits: true at every moment, also while
  // a step takes new requests in.
  stats.waiting = std::max<int64_t>(in_flight_ - stats.running, 0);
  if (loader_) {  // writes go on when no step runs
    const DiskTierStats disk = loader_->disk_stats();
    stats.disk_ready = disk.ready;
    stats.disk_bytes = disk.bytes;
    stats.disk_refused = disk.refused;
    stats.disk_read_errors = disk.read_errors;
    stats.disk_write_errors = disk.write_errors;
    stats.disk_dropped = disk.dropped;
  }
  return stats;
}

StepProfile EngineImpl::profile() const {
  absl::MutexLock lock(&mutex_);
  return profile_;
}

void EngineImpl::Loop() {
  while (TakeArrivals()) {
    DropCancelled();
    if (const auto step = scheduler_.Next()) RunStep(*step);
    saving_ = loader_ && loader_->SaveSome();
    PublishStats();
  }
  while (!active_.empty()) {
    Request* request = active_.back().get();
    request->End(FinishReason::kCancelled);
    Finish(request);
  }
  if (loader_) loader_->SaveRest();
}

// Moves what was submitted into the scheduler; sleeps while there is nothing to do.
bool EngineImpl::TakeArrivals() {
  std::deque<std::unique_ptr<Request>> arrivals;
  std::deque<LogitsJob*> jobs;
  bool stop = false;
  {
    absl::MutexLock lock(&mutex_);
    const auto work = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stop_ || !arrivals_.empty() || !job_arrivals_.empty() || disk_news_;
    };
    // What is neither running nor waiting has pages on their way from the disk.
    if (scheduler_.running() + scheduler_.waiting() == 0 && !saving_) {
      const bool reading = loader_ && loader_->busy();
      mutex_.AwaitWithTimeout(absl::Condition(&work),
                              reading ? kDiskLook : absl::InfiniteDuration());
    }
    arrivals.swap(arrivals_);
    jobs.swap(job_arrivals_);
    disk_news_ = false;
    stop = stop_;
  }
  for (std::unique_ptr<Request>& arrival : arrivals) {
    active_.push_back(std::move(arrival));
    Enqueue(&active_.back()->sequence());
  }
  for (LogitsJob* job : jobs) {
    jobs_.push_back(job);
    scheduler_.Add(&job->sequence);
  }
  if (loader_) {
    for (Sequence* sequence : loader_->Ready(Request::Clock::now())) scheduler_.Add(sequence);
  }
  return !stop || !jobs_.empty();
}

// What the disk knows of a prompt is read before it is computed.
void EngineImpl::Enqueue(Sequence* sequence) {
  if (loader_ && loader_->Begin(sequence, Request::Clock::now())) return;
  scheduler_.Add(sequence);
}

void EngineImpl::DropCancelled() {
  for (size_t i = active_.size(); i-- > 0;) {
    Request* request = active_[i].get();
    if (!request->cancelled().load(std::memory_order_relaxed)) continue;
    request->End(FinishReason::kCancelled);
    Finish(request);
  }
}

void EngineImpl::RunStep(const Step& step) {
  const auto now = Request::Clock::now();
  for (const auto& request : active_) {
    if (request->started()) continue;
    const auto part =
        std::find_if(step.parts.begin(), step.parts.end(),
                     [&request](const StepPart& p) { return p.sequence == &request->sequence(); });
    if (part != step.parts.end()) request->Started(now);
  }
  PublishStats();  // who runs is known before the step, which may take long
  Compute(step);
  if (loaded_.options.profile) {  // before anybody hears of the step's tokens
    absl::MutexLock lock(&mutex_);
    profile_ = own_profile_;
  }
  scheduler_.Commit(step);
  ++own_stats_.steps;
  ChooseTokens(step);
  for (const StepPart& part : step.parts) HandOut(part);
}

// A step, and what it says about the next ones.
void EngineImpl::Compute(const Step& step) {
  int64_t answer_rows = 0;
  for (const StepPart& part : step.parts) {
    const bool answer = part.tokens == 1 && part.sequence->computed >= part.sequence->prompt_tokens;
    answer_rows += answer ? 1 : 0;
  }
  const auto begin = Request::Clock::now();
  loaded_.model->Forward(*loaded_.team, comm_, step.plan);
  const std::chrono::duration<double, std::milli> took = Request::Clock::now() - begin;
  pace_.Observe(answer_rows, step.plan.rows() - answer_rows, took.count());
  scheduler_.set_prefill_rows(pace_.prompt_rows());
}

Request* EngineImpl::RequestOf(const StepPart& part) {
  const auto found = std::find_if(active_.begin(), active_.end(), [&part](const auto& request) {
    return &request->sequence() == part.sequence;
  });
  return found == active_.end() ? nullptr : found->get();
}

std::span<const float> EngineImpl::NextLogits(const StepPart& part) const {
  return {loaded_.model->logits(part.logits_begin + part.logits - 1),
          static_cast<size_t>(loaded_.info.vocab_size)};
}

// Choosing from a large vocabulary takes tenths of a millisecond, so where several answers go on
// the team does it together. Which thread chooses changes nothing: a choice depends on the
// request's own state and logits.
void EngineImpl::ChooseTokens(const Step& step) {
  std::vector<std::pair<Request*, std::span<const float>>> choices;
  for (const StepPart& part : step.parts) {
    if (part.logits == 0 || part.hidden > 0 || part.sequence->pending() > 0) continue;
    Request* request = RequestOf(part);
    if (request != nullptr && request->chooses_alone()) {
      choices.emplace_back(request, NextLogits(part));
    }
  }
  if (choices.size() < 2) return;  // HandOut does it
  std::atomic<size_t> next = 0;
  loaded_.team->Run([&choices, &next](const base::TeamMember&) {
    for (size_t i = next++; i < choices.size(); i = next++) {
      choices[i].first->ChooseAhead(choices[i].second);
    }
  });
}

void EngineImpl::HandOut(const StepPart& part) {
  for (LogitsJob* job : jobs_) {
    if (&job->sequence == part.sequence) return HandOutLogits(*job, part);
  }
  Request* request = RequestOf(part);
  Sequence& sequence = request->sequence();
  const int64_t vocab = loaded_.info.vocab_size;
  const int64_t in_prompt =
      std::min(sequence.computed, sequence.prompt_tokens) - (sequence.computed - part.tokens);
  own_stats_.prompt_tokens += std::max<int64_t>(in_prompt, 0);
  if (part.hidden > 0) {
    const bool ended =
        request->OnHidden(sequence.computed - part.hidden, part.hidden,
                          loaded_.model->hidden(part.hidden_begin), loaded_.info.hidden_size);
    if (ended) Finish(request);
    return;
  }
  if (part.logits == 0) return;
  if (sequence.all_logits) {
    request->OnPromptLogits(sequence.computed - part.logits, part.logits,
                            loaded_.model->logits(part.logits_begin), vocab);
  }
  if (sequence.pending() > 0) return;
  const int64_t before = request->usage().completion_tokens;
  const bool ended = request->OnNextLogits(NextLogits(part));
  own_stats_.generation_tokens += request->usage().completion_tokens - before;
  if (ended) Finish(request);
}

void EngineImpl::HandOutLogits(LogitsJob& job, const StepPart& part) {
  const int64_t vocab = loaded_.info.vocab_size;
  for (int64_t i = 0; i < part.logits; ++i) {
    const float* row = loaded_.model->logits(part.logits_begin + i);
    if (job.on_row) {
      job.on_row(job.sequence.computed - part.logits + i, {row, static_cast<size_t>(vocab)});
    } else {
      job.rows.emplace_back(row, row + vocab);
    }
  }
  own_stats_.prompt_tokens += part.tokens;
  if (job.sequence.pending() > 0) return;
  scheduler_.Remove(&job.sequence);
  std::erase(jobs_, &job);
  absl::MutexLock lock(&mutex_);
  job.done = true;
}

void EngineImpl::Finish(Request* request) {
  if (loader_) {
    loader_->Save(&request->sequence());
    loader_->Forget(&request->sequence());
  }
  scheduler_.Remove(&request->sequence());
  std::erase_if(active_, [request](const auto& owned) { return owned.get() == request; });
  absl::MutexLock lock(&mutex_);
  --in_flight_;
  // Whoever waits for the end sees its place and its pages free.
  stats_.running = scheduler_.running();
  stats_.kv_pages_used = pool_.used() - prefixes_.unheld();
  stats_.kv_pages_cached = prefixes_.unheld();
}

// By name, so that a replaced adapter and its successor count together.
void EngineImpl::CountAdapters() {
  own_stats_.adapters.clear();
  for (const auto& request : active_) {
    if (request->adapter() == nullptr) continue;
    const std::string& name = request->adapter()->info.name;
    auto use = std::find_if(own_stats_.adapters.begin(), own_stats_.adapters.end(),
                            [&name](const AdapterUse& u) { return u.name >= name; });
    if (use == own_stats_.adapters.end() || use->name != name) {
      use = own_stats_.adapters.insert(use, {.name = name});
    }
    ++(request->started() ? use->running : use->waiting);
  }
}

void EngineImpl::PublishStats() {
  CountAdapters();
  own_stats_.running = scheduler_.running();
  own_stats_.preemptions = scheduler_.preemptions();
  own_stats_.kv_pages_used = pool_.used() - prefixes_.unheld();
  own_stats_.kv_pages_cached = prefixes_.unheld();
  own_stats_.prefix_queries = scheduler_.prefix_queries();
  own_stats_.prefix_hits = scheduler_.prefix_hits();
  if (loader_) {
    own_stats_.disk_queries = loader_->queries();
    own_stats_.disk_hits = loader_->hits();
  }
  own_stats_.oldest_waiting_seconds = 0;
  const auto now = Request::Clock::now();
  for (const auto& request : active_) {
    if (request->started()) continue;
    const std::chrono::duration<double> age = now - request->submitted();
    own_stats_.oldest_waiting_seconds = std::max(own_stats_.oldest_waiting_seconds, age.count());
  }
  absl::MutexLock lock(&mutex_);
  stats_ = own_stats_;
}

}  // namespace inhouse::engine
