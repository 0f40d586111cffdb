#include "apps/inhouse/model_loader.h"

#include <algorithm>
#include <filesystem>
#include <system_error>
#include <utility>

#include "apps/inhouse/engine_flags.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/model.h"
#include "engine/runtime/bind_options.h"
#include "engine/runtime/byte_plan.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "lifecycle/registry/store.h"

namespace inhouse::apps {
namespace {

namespace fs = std::filesystem;

}  // namespace

absl::StatusOr<engine::EngineOptions> PlanServed(const model_server::ModelLoader::Wanted& wanted) {
  engine::EngineOptions options = wanted.options;
  options.model = wanted.model;
  INHOUSE_ASSIGN_OR_RETURN(const auto checkpoint, engine::Checkpoint::Open(options.model));
  INHOUSE_ASSIGN_OR_RETURN(const engine::BindOptions bind, engine::BindOptionsOf(options));
  INHOUSE_ASSIGN_OR_RETURN(const auto model, engine::Model::Bind(*checkpoint, bind));
  const int threads = options.threads > 0 ? options.threads : base::DefaultThreadCount();
  INHOUSE_ASSIGN_OR_RETURN(const engine::AdapterPlan adapters,
                           engine::PlanAdapters(*model, *bind.kernels, options));
  const int64_t available = std::max<int64_t>(engine::AvailableMemory() + wanted.memory_offset, 0);
  engine::EngineOptions planned = options;
  absl::StatusOr<engine::BytePlan> plan =
      engine::PlanBytes(*model, planned, adapters, threads, available);
  // A shorter context is no way to make a successor fit: prompts that were answered would be
  // refused.
  const int64_t least = std::min(wanted.context_least, model->facts().context_tokens);
  if (plan.ok() && options.context_tokens == 0 && plan->limits.context_tokens < least) {
    planned.context_tokens = least;
    planned.kv_bytes = planned.kv_tokens = 0;
    plan = engine::PlanBytes(*model, planned, adapters, threads, available);
  }
  INHOUSE_RETURN_IF_ERROR(plan.status());
  fmt::print(stderr, "{}: {}\n", options.model, engine::Describe(*plan));
  if (wanted.memory_offset != 0) {
    // What is promised to others is known here and not where the engine looks again.
    options.kv_bytes = plan->bytes.kv;
    options.kv_tokens = 0;
  }
  return options;
}

absl::StatusOr<engine::EngineOptions> ServeLoader::Plan(const Wanted& wanted) {
  Wanted found = wanted;
  if (wanted.trusted) {
    INHOUSE_ASSIGN_OR_RETURN(found.model, lifecycle::ResolveModel(wanted.model));
  } else {
    INHOUSE_ASSIGN_OR_RETURN(found.model, Find(wanted.model));
  }
  FindPacked(&found.options);
  return PlanServed(found);
}

// A client must not make the server open any file that it can reach.
absl::StatusOr<std::string> ServeLoader::Find(const std::string& model) const {
  if (root_) {
    std::error_code error;
    const fs::path root = fs::weakly_canonical(*root_, error);
    const fs::path wanted = fs::weakly_canonical(root / model, error);
    const fs::path below = wanted.lexically_relative(root);
    const bool inside = !error && !below.empty() && *below.begin() != "..";
    if (inside && fs::exists(wanted, error)) return lifecycle::ResolveModel(wanted.string());
  }
  if (fs::path(model).is_absolute() || model.starts_with(".")) {
    return base::InputError(
        root_ ? absl::StatusCode::kNotFound : absl::StatusCode::kPermissionDenied,
        {.field = "model",
         .value = model,
         .expected = root_ ? "a model below the server's --model-root, or one of its store"
                           : "the name of a model of the server's store: it was started without "
                             "--model-root"});
  }
  INHOUSE_ASSIGN_OR_RETURN(const lifecycle::Store store, lifecycle::Store::OpenDefault());
  INHOUSE_ASSIGN_OR_RETURN(const lifecycle::StoredVersion version, store.Find(model));
  return version.ModelPath();
}

absl::StatusOr<std::unique_ptr<engine::Engine>> ServeLoader::Load(
    const engine::EngineOptions& options, const engine::Engine::Progress& progress) {
  INHOUSE_ASSIGN_OR_RETURN(auto engine, engine::Engine::Load(options, progress));
  ReportPacked(*engine);
  INHOUSE_RETURN_IF_ERROR(CheckServable(*engine));
  return engine;
}

absl::Status CheckServable(const engine::Engine& engine) {
  if (engine.chat_format() == nullptr) {
    fmt::print(stderr, "{}: no chat template: /v1/chat/completions will refuse\n",
               engine.info().path);
  }
  if (engine.tokenizer() != nullptr) return absl::OkStatus();
  return base::InvalidInput({.file = engine.info().path,
                             .expected = "a tokenizer (tokenizer.json, or in the GGUF file)",
                             .hint = "`inhouse logits` works without one."});
}

}  // namespace inhouse::apps
