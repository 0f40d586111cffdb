#include "monitoring/metrics/metrics.h"

#include <prometheus/counter.h>
#include <prometheus/gauge.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>
#include <prometheus/text_serializer.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <sstream>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "monitoring/metrics/process.h"

namespace inhouse::monitoring {
namespace {

using prometheus::Counter;
using prometheus::Family;
using prometheus::Gauge;
using prometheus::Histogram;
using Buckets = Histogram::BucketBoundaries;
using Labels = prometheus::Labels;

// The boundaries of vLLM (wire contract, section 3.1).
const Buckets& FirstTokenBuckets() {
  static const Buckets buckets = {0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75,
                                  1,     2.5,   5,    7.5,  10,   20,   40,   80,  160,  640, 2560};
  return buckets;
}
const Buckets& TokenGapBuckets() {
  static const Buckets buckets = {0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5,
                                  0.75, 1,     2.5,  5,     7.5, 10,   20,  40,  80};
  return buckets;
}
const Buckets& RequestBuckets() {
  static const Buckets buckets = {0.3, 0.5, 0.8, 1,  1.5, 2,   2.5, 5,   10,   15,  20,
                                  30,  40,  50,  60, 120, 240, 480, 960, 1920, 7680};
  return buckets;
}
const Buckets& HttpBuckets() {
  static const Buckets buckets = {0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1, 5, 10, 60, 600};
  return buckets;
}

// 1, 2, 5, 10, 20, 50, ... up to the longest context.
Buckets TokenBuckets(int64_t tokens_max) {
  Buckets buckets;
  for (int64_t decade = 1; decade <= tokens_max; decade *= 10) {
    for (const int64_t step : {1, 2, 5}) {
      if (decade * step <= tokens_max) buckets.push_back(static_cast<double>(decade * step));
    }
  }
  if (buckets.empty()) buckets.push_back(1);
  return buckets;
}

// Absolute counts of the engine become increments of a counter.
void CatchUp(Counter& counter, int64_t total) {
  const double missing = static_cast<double>(total) - counter.Value();
  if (missing > 0) counter.Increment(missing);
}

// The metrics that carry the model's labels.
struct ModelMetrics {
  ModelMetrics(prometheus::Registry& registry, const ModelLabels& model)
      : registry_(registry), labels_{{"model_name", model.name}, {"engine", "0"}} {
    const Buckets tokens = TokenBuckets(model.context_tokens);
    running = &MakeGauge("vllm:num_requests_running", "Sequences in execution.");
    waiting = &MakeGauge("vllm:num_requests_waiting", "Sequences that wait for their first step.");
    kv_usage = &MakeGauge("vllm:kv_cache_usage_perc", "Used part of the KV cache, from 0 to 1.");
    oldest_waiting = &MakeGauge("inhouse_oldest_waiting_seconds", "Age of the oldest waiting one.");
    prompt_tokens = &MakeCounter("vllm:prompt_tokens_total", "Prompt tokens computed.");
    generation_tokens = &MakeCounter("vllm:generation_tokens_total", "Tokens generated.");
    preemptions = &MakeCounter("vllm:num_preemptions_total", "Sequences put back to the queue.");
    steps = &MakeCounter("inhouse_engine_steps_total", "Steps that the engine ran.");
    cache_queries =
        &MakeCounter("vllm:prefix_cache_queries_total", "Prompt tokens looked up in the cache.");
    cache_hits =
        &MakeCounter("vllm:prefix_cache_hits_total", "Prompt tokens taken from the cache.");
    prompt_cached =
        &MakeCounter("vllm:prompt_tokens_cached_total", "Prompt tokens taken from the cache.");
    disk_queries = &MakeCounter("vllm:external_prefix_cache_queries_total",
                                "Prompt tokens looked up in the disk tier.");
    disk_hits = &MakeCounter("vllm:external_prefix_cache_hits_total",
                             "Prompt tokens read from the disk tier.");
    disk_refused = &MakeCounter("inhouse_kv_disk_refused_total",
                                "Files of the disk tier that were damaged: deleted, not used.");
    disk_read_errors =
        &MakeCounter("inhouse_kv_disk_read_errors_total", "Reads that the system refused.");
    disk_write_errors =
        &MakeCounter("inhouse_kv_disk_write_errors_total", "Files that could not be written.");
    disk_dropped = &MakeCounter("inhouse_kv_disk_dropped_pages_total",
                                "Pages not saved because the disk did not keep up.");
    disk_bytes = &MakeGauge("inhouse_kv_disk_bytes", "Size of the disk tier.");
    disk_ready =
        &MakeGauge("inhouse_kv_disk_ready", "1 if this server has the disk tier's directory.");
    first_token = &MakeHistogram("vllm:time_to_first_token_seconds",
                                 "From the request to its first token.", FirstTokenBuckets());
    token_gap = &MakeHistogram("vllm:inter_token_latency_seconds", "Between two tokens.",
                               TokenGapBuckets());
    per_token =
        &MakeHistogram("vllm:request_time_per_output_token_seconds",
                       "Mean time of a token after the first, of one request.", TokenGapBuckets());
    e2e = &MakeHistogram("vllm:e2e_request_latency_seconds", "From the request to its last token.",
                         RequestBuckets());
    queue = &MakeHistogram("vllm:request_queue_time_seconds", "In the queue.", RequestBuckets());
    inference =
        &MakeHistogram("vllm:request_inference_time_seconds", "In execution.", RequestBuckets());
    prefill = &MakeHistogram("vllm:request_prefill_time_seconds",
                             "From the first step to the first token.", RequestBuckets());
    decode = &MakeHistogram("vllm:request_decode_time_seconds", "From the first token to the last.",
                            RequestBuckets());
    request_prompt =
        &MakeHistogram("vllm:request_prompt_tokens", "Prompt tokens of a request.", tokens);
    request_generation =
        &MakeHistogram("vllm:request_generation_tokens", "Tokens generated for a request.", tokens);
    request_max =
        &MakeHistogram("vllm:request_params_max_tokens", "max_tokens as asked for.", tokens);
    request_n = &MakeHistogram("vllm:request_params_n", "n as asked for.", {1, 2, 5, 10, 20});
    adapters = &prometheus::BuildGauge()
                    .Name("vllm:lora_requests_info")
                    .Help("Adapters of the requests in flight; the value is the time.")
                    .Register(registry_);
    success = &prometheus::BuildCounter()
                   .Name("vllm:request_success_total")
                   .Help("Finished requests by reason.")
                   .Register(registry_);
    for (const char* reason : {"stop", "length", "abort", "error", "tool_calls"}) Success(reason);
    info = &prometheus::BuildGauge()
                .Name("inhouse_model_info")
                .Help("The model that answers; always 1.")
                .Register(registry_);
    since = &MakeGauge("inhouse_model_serving_since_seconds",
                       "When the model that answers took over, since the epoch.");
    Describe(model);
  }

  // Called under the lock of the owner.
  void Describe(const ModelLabels& model) {
    Labels labels = {{"architecture", model.architecture},
                     {"isa", model.isa},
                     {"path", model.path},
                     {"fingerprint", model.fingerprint}};
    labels.insert(labels_.begin(), labels_.end());
    if (info_now != nullptr) info->Remove(info_now);
    info_now = &info->Add(labels);
    info_now->Set(1);
    since->SetToCurrentTime();
  }

  Counter& Success(const std::string& reason) {
    Labels labels = {{"finished_reason", reason}};
    labels.insert(labels_.begin(), labels_.end());
    return success->Add(labels);
  }

  // One series, whose labels are lists of names, as in vLLM.
  void SetAdapters(const engine::EngineStats& stats) {
    std::string running;
    std::string waiting;
    for (const engine::AdapterUse& use : stats.adapters) {
      if (use.running > 0) running += (running.empty() ? "" : ",") + use.name;
      if (use.waiting > 0) waiting += (waiting.empty() ? "" : ",") + use.name;
    }
    absl::MutexLock lock(&adapters_mutex);
    if (adapters_now != nullptr) adapters->Remove(adapters_now);
    adapters_now = &adapters->Add({{"max_lora", std::to_string(stats.adapters_max)},
                                   {"running_lora_adapters", running},
                                   {"waiting_lora_adapters", waiting}});
    adapters_now->SetToCurrentTime();
  }

  Gauge& MakeGauge(const char* name, const char* help) {
    return prometheus::BuildGauge().Name(name).Help(help).Register(registry_).Add(labels_);
  }
  Counter& MakeCounter(const char* name, const char* help) {
    return prometheus::BuildCounter().Name(name).Help(help).Register(registry_).Add(labels_);
  }
  Histogram& MakeHistogram(const char* name, const char* help, const Buckets& buckets) {
    return prometheus::BuildHistogram().Name(name).Help(help).Register(registry_).Add(labels_,
                                                                                      buckets);
  }

  prometheus::Registry& registry_;
  const Labels labels_;
  Gauge *running, *waiting, *kv_usage, *oldest_waiting, *disk_bytes, *disk_ready;
  Counter *prompt_tokens, *generation_tokens, *preemptions, *steps;
  Counter *cache_queries, *cache_hits, *prompt_cached;
  Counter *disk_queries, *disk_hits, *disk_refused, *disk_read_errors, *disk_write_errors,
      *disk_dropped;
  Histogram *first_token, *token_gap, *per_token, *e2e, *queue, *inference, *prefill, *decode;
  Histogram *request_prompt, *request_generation, *request_max, *request_n;
  Family<Counter>* success;
  Family<Gauge>* info;
  Gauge* info_now = nullptr;
  Gauge* since;
  Family<Gauge>* adapters;
  absl::Mutex adapters_mutex;
  Gauge* adapters_now ABSL_GUARDED_BY(adapters_mutex) = nullptr;
};

}  // namespace

struct Metrics::Impl {
  prometheus::Registry registry;
  Family<Counter>* http_requests;
  Family<Histogram>* http_seconds;
  Family<Counter>* http_codes;
  Family<Counter>* rejected;
  Family<Counter>* swaps;
  Gauge *models, *swapping;
  Family<Counter>* trace_spans;
  Gauge *resident, *virtual_size, *open_files;
  Counter* cpu;
  absl::Mutex mutex;
  std::unique_ptr<ModelMetrics> model ABSL_GUARDED_BY(mutex);

  ModelMetrics* Model() {
    absl::MutexLock lock(&mutex);
    return model.get();  // set once, never replaced
  }
};

Metrics::Metrics(std::string_view version, std::string_view commit)
    : impl_(std::make_unique<Impl>()) {
  prometheus::Registry& registry = impl_->registry;
  impl_->http_requests = &prometheus::BuildCounter()
                              .Name("http_requests_total")
                              .Help("HTTP requests by route, method and class of status.")
                              .Register(registry);
  impl_->http_seconds = &prometheus::BuildHistogram()
                             .Name("http_request_duration_seconds")
                             .Help("From the request's last byte to the answer's last byte.")
                             .Register(registry);
  impl_->http_codes = &prometheus::BuildCounter()
                           .Name("inhouse_http_responses_total")
                           .Help("HTTP responses by exact status.")
                           .Register(registry);
  impl_->rejected = &prometheus::BuildCounter()
                         .Name("inhouse_requests_rejected_total")
                         .Help("Requests turned away before the engine, by reason.")
                         .Register(registry);
  const auto gauge = [&](const char* name, const char* help) {
    return &prometheus::BuildGauge().Name(name).Help(help).Register(registry).Add({});
  };
  impl_->swaps = &prometheus::BuildCounter()
                      .Name("inhouse_model_swaps_total")
                      .Help("Swaps of the model that answers, by how they ended.")
                      .Register(registry);
  for (const char* outcome : {"done", "failed", "refused"})
    impl_->swaps->Add({{"outcome", outcome}});
  impl_->models = gauge("inhouse_models_resident",
                        "Models in memory: the one that answers, those that finish, those kept.");
  impl_->swapping = gauge("inhouse_model_swap_in_progress", "1 while a model is on its way in.");
  impl_->trace_spans = &prometheus::BuildCounter()
                            .Name("inhouse_trace_spans_total")
                            .Help("Spans for a collector, by what became of them.")
                            .Register(registry);
  impl_->resident = gauge("process_resident_memory_bytes", "Resident memory.");
  impl_->virtual_size = gauge("process_virtual_memory_bytes", "Virtual memory.");
  impl_->open_files = gauge("process_open_fds", "Open file descriptors.");
  impl_->cpu = &prometheus::BuildCounter()
                    .Name("process_cpu_seconds_total")
                    .Help("User and system CPU time.")
                    .Register(registry)
                    .Add({});
  const auto since_epoch = std::chrono::system_clock::now().time_since_epoch();
  gauge("process_start_time_seconds", "Start of the process since the epoch.")
      ->Set(std::chrono::duration<double>(since_epoch).count());
  prometheus::BuildGauge()
      .Name("inhouse_build_info")
      .Help("The running build; always 1.")
      .Register(registry)
      .Add({{"version", std::string(version)}, {"commit", std::string(commit)}})
      .Set(1);
}

Metrics::~Metrics() = default;

void Metrics::DescribeModel(const ModelLabels& labels) {
  absl::MutexLock lock(&impl_->mutex);
  if (impl_->model == nullptr) {
    impl_->model = std::make_unique<ModelMetrics>(impl_->registry, labels);
  } else {
    impl_->model->Describe(labels);
  }
}

void Metrics::OnSwap(std::string_view outcome) {
  impl_->swaps->Add({{"outcome", std::string(outcome)}}).Increment();
}

void Metrics::SetTraces(const TracerStats& stats) {
  const auto set = [this](const char* outcome, int64_t total) {
    CatchUp(impl_->trace_spans->Add({{"outcome", outcome}}), total);
  };
  set("exported", stats.exported);
  set("dropped", stats.dropped);
  set("failed", stats.failed);
}

void Metrics::SetModels(int64_t resident, bool swapping) {
  impl_->models->Set(static_cast<double>(resident));
  impl_->swapping->Set(swapping ? 1 : 0);
}

void Metrics::OnHttp(const HttpRecord& record) {
  const std::string handler(record.handler);
  const std::string method(record.method);
  // "2xx" as the exporter that vLLM uses groups them; the exact status has its own counter.
  const std::string status_class = std::to_string(record.status / 100) + "xx";
  impl_->http_requests->Add({{"handler", handler}, {"method", method}, {"status", status_class}})
      .Increment();
  impl_->http_seconds->Add({{"handler", handler}, {"method", method}}, HttpBuckets())
      .Observe(record.seconds);
  impl_->http_codes->Add({{"code", std::to_string(record.status)}}).Increment();
}

void Metrics::OnFinished(const RequestRecord& record) {
  ModelMetrics* model = impl_->Model();
  if (model == nullptr) return;
  model->Success(record.finish_reason).Increment();
  model->e2e->Observe(record.e2e_seconds);
  model->request_prompt->Observe(static_cast<double>(record.prompt_tokens));
  model->request_generation->Observe(static_cast<double>(record.generation_tokens));
  model->request_max->Observe(static_cast<double>(record.max_tokens));
  model->request_n->Observe(static_cast<double>(record.n));
  if (record.first_token_seconds) model->first_token->Observe(*record.first_token_seconds);
  if (record.queue_seconds) model->queue->Observe(*record.queue_seconds);
  if (record.prefill_seconds) model->prefill->Observe(*record.prefill_seconds);
  if (record.decode_seconds) {
    model->decode->Observe(*record.decode_seconds);
    model->inference->Observe(record.prefill_seconds.value_or(0) + *record.decode_seconds);
    if (record.generation_tokens > 1) {
      model->per_token->Observe(*record.decode_seconds /
                                static_cast<double>(record.generation_tokens - 1));
    }
  }
}

void Metrics::OnTokenGap(double seconds) {
  if (ModelMetrics* model = impl_->Model(); model != nullptr) model->token_gap->Observe(seconds);
}

void Metrics::OnRejected(std::string_view reason) {
  impl_->rejected->Add({{"reason", std::string(reason)}}).Increment();
}

void Metrics::SetEngine(const engine::EngineStats& stats) {
  ModelMetrics* model = impl_->Model();
  if (model == nullptr) return;
  model->running->Set(static_cast<double>(stats.running));
  model->waiting->Set(static_cast<double>(stats.waiting));
  model->kv_usage->Set(stats.kv_pages_total == 0 ? 0
                                                 : static_cast<double>(stats.kv_pages_used) /
                                                       static_cast<double>(stats.kv_pages_total));
  model->oldest_waiting->Set(stats.oldest_waiting_seconds);
  CatchUp(*model->prompt_tokens, stats.prompt_tokens);
  CatchUp(*model->generation_tokens, stats.generation_tokens);
  CatchUp(*model->preemptions, stats.preemptions);
  CatchUp(*model->cache_queries, stats.prefix_queries);
  CatchUp(*model->cache_hits, stats.prefix_hits);
  CatchUp(*model->prompt_cached, stats.prefix_hits);
  CatchUp(*model->disk_queries, stats.disk_queries);
  CatchUp(*model->disk_hits, stats.disk_hits);
  CatchUp(*model->disk_refused, stats.disk_refused);
  CatchUp(*model->disk_read_errors, stats.disk_read_errors);
  CatchUp(*model->disk_write_errors, stats.disk_write_errors);
  CatchUp(*model->disk_dropped, stats.disk_dropped);
  model->disk_ready->Set(stats.disk_ready ? 1 : 0);
  model->disk_bytes->Set(static_cast<double>(stats.disk_bytes));
  CatchUp(*model->steps, stats.steps);
  model->SetAdapters(stats);
}

std::string Metrics::Text() const {
  const ProcessFacts facts = ReadProcessFacts();
  impl_->resident->Set(static_cast<double>(facts.resident_bytes));
  impl_->virtual_size->Set(static_cast<double>(facts.virtual_bytes));
  impl_->open_files->Set(static_cast<double>(facts.open_files));
  const double cpu_new = facts.cpu_seconds - impl_->cpu->Value();
  if (cpu_new > 0) impl_->cpu->Increment(cpu_new);
  // prometheus-cpp serialises to a stream; in memory it cannot fail.
  std::ostringstream out;
  prometheus::TextSerializer().Serialize(out, impl_->registry.Collect());
  return out.str();
}

}  // namespace inhouse::monitoring
