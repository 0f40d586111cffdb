// Engine::Load: from a path to a running engine.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/engine.h"
#include "engine/formats/model_digest.h"
#include "engine/runtime/bind_options.h"
#include "engine/runtime/byte_plan.h"
#include "engine/runtime/engine_impl.h"
#include "engine/runtime/model_defaults.h"
#include "engine/runtime/open_disk.h"
#include "engine/runtime/packed.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Milliseconds since the last call.
class Stopwatch {
 public:
  double Lap() {
    const auto now = std::chrono::steady_clock::now();
    const std::chrono::duration<double, std::milli> lap = now - last_;
    last_ = now;
    return lap.count();
  }

 private:
  std::chrono::steady_clock::time_point last_ = std::chrono::steady_clock::now();
};

std::string BaseName(const std::string& path) {
  std::filesystem::path p(path);
  if (!p.has_filename()) p = p.parent_path();
  return p.extension() == ".gguf" ? p.stem().string() : p.filename().string();
}

absl::Status LoadTokenizerAndFormat(LoadedModel* loaded) {
  absl::StatusOr<std::unique_ptr<Tokenizer>> tokenizer = LoadTokenizer(*loaded->checkpoint);
  if (!tokenizer.ok()) {
    return loaded->options.need_tokenizer ? std::move(tokenizer).status() : absl::OkStatus();
  }
  loaded->tokenizer = *std::move(tokenizer);
  const TokenizerSpec& spec = loaded->tokenizer->spec();
  if (spec.chat_template.empty()) return absl::OkStatus();
  INHOUSE_ASSIGN_OR_RETURN(loaded->chat_format, CreateJinjaFormat(spec.chat_template, spec.path));
  return absl::OkStatus();
}

void DescribeModel(LoadedModel* loaded) {
  const ModelFacts& facts = loaded->model->facts();
  ModelInfo& info = loaded->info;
  info.path = loaded->options.model;
  info.name = BaseName(loaded->options.model);
  info.digest = ModelDigest(*loaded->checkpoint);
  info.architecture = facts.architecture;
  info.parameters_total = facts.parameters_total;
  info.parameters_active = facts.parameters_active;
  info.vocab_size = facts.vocab_size;
  info.layers = facts.layers;
  info.hidden_size = facts.hidden_size;
  info.model_context_tokens = facts.context_tokens;
  for (const ProductFacts& product : facts.products) {
    info.products.push_back(
        {product.op, product.weight_bytes, product.ops, std::string(Name(product.unit))});
  }
  info.isa = std::string(Name(loaded->kernels->level));
  info.activation_bits = loaded->options.activation_bits;
  info.threads = loaded->team->count();
}

absl::Status LoadAdapters(LoadedModel* loaded) {
  loaded->adapters =
      std::make_unique<AdapterTable>(*loaded->model, *loaded->kernels,
                                     AdapterTable::Limits{.count = loaded->options.adapters_max,
                                                          .rank = loaded->plan.limits.adapter_rank,
                                                          .bytes = loaded->plan.adapter_bytes_max});
  for (const AdapterSource& source : loaded->options.adapters) {
    INHOUSE_RETURN_IF_ERROR(loaded->adapters->Load(source, /*replace=*/false).status());
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Engine>> Engine::Load(const EngineOptions& options,
                                                     const Progress& progress) {
  LoadedModel loaded;
  loaded.options = options;
  LoadReport& report = loaded.info.load;
  Stopwatch watch;
  INHOUSE_ASSIGN_OR_RETURN(const BindOptions bind, BindOptionsOf(options));
  loaded.kernels = bind.kernels;
  INHOUSE_ASSIGN_OR_RETURN(loaded.checkpoint, Checkpoint::Open(options.model));
  report.open_ms = watch.Lap();
  INHOUSE_ASSIGN_OR_RETURN(loaded.model, Model::Bind(*loaded.checkpoint, bind));
  INHOUSE_RETURN_IF_ERROR(LoadTokenizerAndFormat(&loaded));
  loaded.team = std::make_unique<base::ThreadTeam>(
      options.threads > 0 ? options.threads : base::DefaultThreadCount());
  INHOUSE_ASSIGN_OR_RETURN(const AdapterPlan adapters,
                           PlanAdapters(*loaded.model, *loaded.kernels, options));
  INHOUSE_ASSIGN_OR_RETURN(loaded.plan, PlanBytes(*loaded.model, options, adapters,
                                                  loaded.team->count(), AvailableMemory()));
  DescribeModel(&loaded);
  INHOUSE_ASSIGN_OR_RETURN(
      loaded.disk, OpenDisk(options, *loaded.checkpoint, loaded.model->facts(), loaded.info));
  INHOUSE_RETURN_IF_ERROR(
      ReadModelDefaults(*loaded.checkpoint, loaded.tokenizer.get(), &loaded.info));
  loaded.info.bytes = loaded.plan.bytes;
  loaded.info.context_tokens = loaded.plan.limits.context_tokens;
  report.stored_bytes = loaded.model->weights().stored_bytes();
  report.bind_ms = watch.Lap();
  INHOUSE_RETURN_IF_ERROR(MapPacked(options, *loaded.checkpoint, *loaded.kernels, *loaded.team,
                                    *loaded.model, &report));
  // What was read of the maps (small tensors, samples for the fingerprint) may have entered 2 MiB
  // each time. From here on they are hardly needed: packing and embedding read the files.
  for (const auto& file : loaded.checkpoint->tensors.files()) {
    file->DontNeed(0, file->bytes().size());
  }
  if (report.packed.empty() && !loaded.model->weights().Pack(*loaded.team, progress)) {
    return absl::CancelledError("the load was given up");
  }
  report.weights_ms = watch.Lap();
  loaded.model->Allocate(*loaded.team, loaded.plan.limits);
  INHOUSE_RETURN_IF_ERROR(LoadAdapters(&loaded));
  report.buffers_ms = watch.Lap();
  report.total_ms = report.open_ms + report.bind_ms + report.weights_ms + report.buffers_ms;
  return std::make_unique<EngineImpl>(std::move(loaded));
}

}  // namespace inhouse::engine
