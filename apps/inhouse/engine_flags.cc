#include "apps/inhouse/engine_flags.h"

#include <cmath>
#include <cstdio>
#include <deque>
#include <iostream>
#include <iterator>
#include <utility>

#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/names.h"
#include "lifecycle/registry/resolve.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

constexpr int64_t kIdsBytesMax = 64 << 20;

// Carries events from the engine thread to the thread that waits for them.
class EventQueue {
 public:
  void Push(engine::TokenEvent event) {
    absl::MutexLock lock(&mutex_);
    events_.push_back(std::move(event));
  }
  // The next event, or none after a tenth of a second.
  std::optional<engine::TokenEvent> Pop() {
    absl::MutexLock lock(&mutex_);
    const auto ready = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) { return !events_.empty(); };
    if (!mutex_.AwaitWithTimeout(absl::Condition(&ready), absl::Milliseconds(100)))
      return std::nullopt;
    engine::TokenEvent event = std::move(events_.front());
    events_.pop_front();
    return event;
  }

 private:
  absl::Mutex mutex_;
  std::deque<engine::TokenEvent> events_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace

void AddModelFlags(CLI::App& app, engine::EngineOptions* options) {
  app.add_option("-m,--model", options->model,
                 "directory (config.json, *.safetensors, tokenizer.json), .gguf file, or a name of "
                 "the local store")
      ->required();
  app.add_option("-t,--threads", options->threads,
                 "threads (default: the physical cores that the process may use)")
      ->check(CLI::Range(1, 1024));
  app.add_option("--isa", options->isa,
                 "kernel level, for tests (default: the best that this CPU has)")
      ->envname("INHOUSE_ISA");
  AddActivationBits(app, options, "--activation-bits",
                    "of activations that meet integer weights: 16, or 8 for a faster prefill that "
                    "costs accuracy (`inhouse compare` says how much)");
}

void AddActivationBits(CLI::App& app, engine::EngineOptions* options, const char* flag,
                       const char* what) {
  app.add_option(flag, options->activation_bits, what)
      ->capture_default_str()
      ->check(CLI::IsMember({8, 16}));
}

void AddKvType(CLI::App& app, engine::EngineOptions* options, const char* flag, const char* what) {
  app.add_option(flag, options->kv_type, what)
      ->check(CLI::IsMember({"auto", "f32", "f16", "bf16", "fp8"}))
      ->capture_default_str();
}

void AddPrefillChunk(CLI::App& app, engine::EngineOptions* options) {
  app.add_option("--prefill-chunk", options->prefill_chunk,
                 "prompt tokens of one step at most: shorter steps let others speak sooner")
      ->capture_default_str()
      ->check(CLI::Range(1, 65536));
}

void AddEngineFlags(CLI::App& app, engine::EngineOptions* options) {
  AddModelFlags(app, options);
  app.add_option("-c,--context", options->context_tokens,
                 "tokens of one sequence at most (default: the model's, as far as memory allows)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  AddKvType(app, options, "--kv-type",
            "how keys and values are kept: f32, f16, bf16 (for numbers beyond 65504) or fp8 "
            "(half the memory, less exact); auto: f32 for f32 and f16 weights, else f16");
  app.add_option("--packed", options->packed,
                 "a file of `inhouse pack` to map instead of packing the weights, or 'off' "
                 "(default: the one in the local store, if there is one)");
}

void AddAdapterFlag(CLI::App& app, engine::EngineOptions* options) {
  app.add_option_function<std::string>(
      "--adapter",
      [options](const std::string& path) {
        options->adapters = {{"adapter", path}};
      },
      "a LoRA adapter in PEFT's layout: a directory with adapter_config.json and "
      "adapter_model.safetensors");
}

std::string AdapterOf(const engine::Engine& engine) {
  const std::vector<engine::AdapterInfo> adapters = engine.adapters();
  return adapters.empty() ? "" : adapters.front().name;
}

void SamplingFlags::Add(CLI::App& app) {
  app.add_option("--temperature", temperature,
                 "0 = always the most likely token (default: the model's)")
      ->check(CLI::Range(0.0, 100.0));
  app.add_option("--top-k", top_k, "choose among the k most likely tokens; 0 = all")
      ->check(CLI::Range(0, 1 << 24));
  app.add_option("--top-p", top_p,
                 "choose among the likeliest tokens that have this probability together")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--min-p", min_p, "drop tokens less likely than this share of the likeliest")
      ->check(CLI::Range(0.0, 1.0));
  app.add_option("--repetition-penalty", repetition_penalty,
                 "> 1 discourages tokens that have occurred")
      ->check(CLI::Range(1e-3, 1e3));
  app.add_option("--presence-penalty", presence_penalty,
                 "subtracted once from tokens of the answer")
      ->check(CLI::Range(-100.0, 100.0));
  app.add_option("--frequency-penalty", frequency_penalty,
                 "subtracted for each occurrence in the answer")
      ->check(CLI::Range(-100.0, 100.0));
  app.add_option("--seed", seed, "same seed, same bytes")->capture_default_str();
}

engine::SamplingOptions SamplingFlags::Apply(const engine::SamplingOptions& defaults) const {
  engine::SamplingOptions out = defaults;
  if (temperature >= 0) out.temperature = temperature;
  if (top_k >= 0) out.top_k = top_k;
  if (top_p >= 0) out.top_p = top_p;
  if (min_p >= 0) out.min_p = min_p;
  if (repetition_penalty != 1) out.repetition_penalty = repetition_penalty;
  out.presence_penalty = presence_penalty;
  out.frequency_penalty = frequency_penalty;
  out.seed = seed;
  return out;
}

void FindPacked(engine::EngineOptions* options) {
  if (options->packed == "off") {
    options->packed.clear();
    return;
  }
  if (!options->packed.empty()) return;
  // Without a home there is no store, and nothing to find in it.
  const absl::StatusOr<std::string> home = lifecycle::StoreHome();
  if (home.ok()) options->packed_cache = *home + "/packed";
}

void ReportPacked(const engine::Engine& engine) {
  const std::string& problem = engine.info().load.problem;
  if (!problem.empty()) fmt::print(stderr, "packed weights passed over: {}\n", problem);
}

nlohmann::ordered_json LoadJson(const engine::LoadReport& load) {
  nlohmann::ordered_json out = {
      {"open_ms", load.open_ms},       {"bind_ms", load.bind_ms},
      {"weights_ms", load.weights_ms}, {"buffers_ms", load.buffers_ms},
      {"total_ms", load.total_ms},     {"stored_bytes", load.stored_bytes}};
  if (load.packed.empty()) {
    out["packed"] = nullptr;
  } else {
    out["packed"] = load.packed;
  }
  return out;
}

absl::StatusOr<std::unique_ptr<engine::Engine>> LoadEngine(engine::EngineOptions options) {
  INHOUSE_ASSIGN_OR_RETURN(options.model, lifecycle::ResolveModel(options.model));
  FindPacked(&options);
  ProgressBar bar("loading");
  INHOUSE_ASSIGN_OR_RETURN(auto engine,
                           engine::Engine::Load(options, [&bar](int64_t done, int64_t total) {
                             bar.Set(static_cast<uint64_t>(done), static_cast<uint64_t>(total));
                             return true;
                           }));
  bar.Finish();
  ReportPacked(*engine);
  return engine;
}

absl::StatusOr<engine::TokenEvent> RunToEnd(
    engine::Engine& engine, engine::GenerateRequest request,
    const std::function<void(const engine::TokenEvent&)>& on_event) {
  auto queue = std::make_shared<EventQueue>();
  INHOUSE_ASSIGN_OR_RETURN(const auto session,
                           engine.Submit(std::move(request), [queue](engine::TokenEvent event) {
                             queue->Push(std::move(event));
                           }));
  while (true) {
    if (Interrupted()) session->Cancel();
    std::optional<engine::TokenEvent> event = queue->Pop();
    if (!event) continue;
    on_event(*event);
    if (event->finish == engine::FinishReason::kNone) continue;
    if (event->finish == engine::FinishReason::kError) return event->error;
    return *std::move(event);
  }
}

absl::StatusOr<std::vector<engine::TokenId>> ParseIds(const std::string& list,
                                                      const std::string& file) {
  std::string text = "[" + list + "]";
  if (file == "-") {
    text.assign(std::istreambuf_iterator<char>(std::cin), {});
  } else if (!file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(text, base::ReadFile(file, kIdsBytesMax));
  }
  const auto json = nlohmann::json::parse(text, nullptr, false);
  const std::string source = file.empty() ? "--ids" : file;
  if (!json.is_array()) {
    return base::InvalidInput(
        {.file = source,
         .value = file.empty() ? list : "",
         .expected = file.empty() ? "token ids like 1,2,3" : "a JSON array of token ids"});
  }
  std::vector<engine::TokenId> ids;
  for (const auto& item : json) {
    if (!item.is_number_integer() || item.get<int64_t>() < 0 || item.get<int64_t>() > INT32_MAX) {
      return base::InvalidInput(
          {.file = source,
           .field = fmt::format("[{}]", ids.size()),
           .value = item.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace),
           .expected = "a token id"});
    }
    ids.push_back(item.get<engine::TokenId>());
  }
  return ids;
}

void AppendFloat(float value, std::string* out) {
  if (std::isfinite(value)) {
    fmt::format_to(std::back_inserter(*out), "{:.9g}", value);
  } else {
    *out += "null";  // JSON has no NaN and no infinity
  }
}

}  // namespace inhouse::apps
