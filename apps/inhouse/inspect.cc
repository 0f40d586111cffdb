// inhouse inspect: what is in a checkpoint, and whether it fits.
#include <cstdio>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/progress.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "base/thread_team.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/quantization_config.h"
#include "engine/models/model.h"
#include "engine/runtime/bind_options.h"
#include "engine/runtime/byte_plan.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

using nlohmann::ordered_json;

struct InspectFlags {
  engine::EngineOptions engine;
  bool tensors = false;
  bool json = false;
};

struct DTypeTotal {
  int64_t tensors = 0;
  int64_t parameters = 0;
  int64_t bytes = 0;
};

struct Inspection {
  std::unique_ptr<engine::Checkpoint> checkpoint;
  std::map<std::string, DTypeTotal> by_dtype;
  DTypeTotal total;
  std::string quantization;  // the method that config.json names, or empty
  absl::StatusOr<std::unique_ptr<engine::Model>> model = absl::UnknownError("");
  absl::StatusOr<engine::BytePlan> plan = absl::UnknownError("");
};

absl::StatusOr<Inspection> Inspect(InspectFlags& flags) {
  Inspection out;
  INHOUSE_ASSIGN_OR_RETURN(flags.engine.model, lifecycle::ResolveModel(flags.engine.model));
  INHOUSE_ASSIGN_OR_RETURN(out.checkpoint, engine::Checkpoint::Open(flags.engine.model));
  for (const auto& [name, tensor] : out.checkpoint->tensors.tensors()) {
    const DTypeTotal one{1, engine::ElementCount(tensor.view.shape),
                         static_cast<int64_t>(tensor.view.bytes.size())};
    for (DTypeTotal* total :
         {&out.by_dtype[std::string(engine::Name(tensor.view.dtype))], &out.total}) {
      total->tensors += one.tensors;
      total->parameters += one.parameters;
      total->bytes += one.bytes;
    }
  }
  if (out.checkpoint->config) {
    const auto quantization = engine::ReadQuantizationConfig(*out.checkpoint->config);
    if (quantization.ok() && quantization->method != engine::QuantMethod::kNone) {
      out.quantization = std::string(engine::Name(quantization->method));
    }
  }
  INHOUSE_ASSIGN_OR_RETURN(const engine::BindOptions bind, engine::BindOptionsOf(flags.engine));
  out.model = engine::Model::Bind(*out.checkpoint, bind);
  if (!out.model.ok()) return out;
  const int threads = flags.engine.threads > 0 ? flags.engine.threads : base::DefaultThreadCount();
  out.plan = engine::PlanBytes(**out.model, flags.engine, {}, threads, engine::AvailableMemory());
  return out;
}

ordered_json TensorList(const engine::Checkpoint& checkpoint) {
  ordered_json list = ordered_json::array();
  for (const auto& [name, tensor] : checkpoint.tensors.tensors()) {
    list.push_back({{"name", name},
                    {"dtype", engine::Name(tensor.view.dtype)},
                    {"shape", tensor.view.shape},
                    {"bytes", tensor.view.bytes.size()},
                    {"file", tensor.file->path()},
                    {"offset", tensor.file_offset}});
  }
  return list;
}

// How the products read the matrices of a quantized checkpoint.
ordered_json MatrixTypes(const engine::ModelFacts& facts) {
  ordered_json out = ordered_json::object();
  for (const auto& [dtype, type] : facts.matrix_types) {
    out[std::string(engine::Name(dtype))] = {{"matrices", type.matrices},
                                             {"parameters", type.parameters},
                                             {"stored_bytes", type.stored_bytes}};
  }
  return out;
}

void PrintMatrixTypes(const engine::ModelFacts& facts) {
  Table table({{"rows as"},
               {"matrices", Table::Align::kRight},
               {"parameters", Table::Align::kRight},
               {"stored", Table::Align::kRight},
               {"bits each", Table::Align::kRight}});
  for (const auto& [dtype, type] : facts.matrix_types) {
    const auto bytes = static_cast<double>(type.stored_bytes);
    table.AddRow({std::string(engine::Name(dtype)), fmt::format("{}", type.matrices),
                  fmt::format("{}", type.parameters), FormatBinaryBytes(bytes),
                  fmt::format("{:.2f}", 8 * bytes / static_cast<double>(type.parameters))});
  }
  table.Print(stdout);
}

void PrintJson(const Inspection& in, const InspectFlags& flags) {
  ordered_json out = {{"path", flags.engine.model},
                      {"format", in.checkpoint->gguf ? "gguf" : "safetensors"}};
  ordered_json dtypes = ordered_json::object();
  for (const auto& [name, total] : in.by_dtype) {
    dtypes[name] = {
        {"tensors", total.tensors}, {"parameters", total.parameters}, {"bytes", total.bytes}};
  }
  if (!in.quantization.empty()) out["quantization"] = in.quantization;
  out["tensors"] = in.total.tensors;
  out["dtypes"] = dtypes;
  out["file_bytes"] = in.total.bytes;
  if (in.model.ok()) {
    const engine::ModelFacts& facts = (*in.model)->facts();
    out["architecture"] = facts.architecture;
    out["parameters"] = {{"total", facts.parameters_total}, {"active", facts.parameters_active}};
    out["layers"] = facts.layers;
    out["hidden_size"] = facts.hidden_size;
    out["vocab_size"] = facts.vocab_size;
    out["context_tokens"] = facts.context_tokens;
    if (!in.quantization.empty()) out["matrices"] = MatrixTypes(facts);
    out["supported"] = true;
  } else {
    out["supported"] = false;
    out["reason"] = base::Message(in.model.status());
  }
  if (in.plan.ok()) {
    const engine::BytePlan& plan = *in.plan;
    out["bytes"] = {{"weights", plan.bytes.weights}, {"kv_per_token", plan.bytes.kv_per_token},
                    {"kv_type", plan.bytes.kv_type}, {"kv", plan.bytes.kv},
                    {"scratch", plan.bytes.scratch}, {"total", plan.total()},
                    {"available", plan.available}};
    out["fits"] = true;
    out["served_context_tokens"] = plan.limits.context_tokens;
  } else if (in.model.ok()) {
    out["fits"] = false;
    out["reason"] = base::Message(in.plan.status());
  }
  if (flags.tensors) out["tensor_list"] = TensorList(*in.checkpoint);
  std::printf("%s\n", out.dump(2, ' ', false, ordered_json::error_handler_t::replace).c_str());
}

void PrintText(const Inspection& in, const InspectFlags& flags) {
  fmt::print("{} ({})\n", flags.engine.model, in.checkpoint->gguf ? "GGUF" : "safetensors");
  if (in.model.ok()) {
    const engine::ModelFacts& f = (*in.model)->facts();
    fmt::print("architecture {}, {} layers, hidden size {}, vocabulary {}, context {} tokens\n",
               f.architecture, f.layers, f.hidden_size, f.vocab_size, f.context_tokens);
    fmt::print("parameters   {:.3f} billion, {:.3f} billion active\n",
               static_cast<double>(f.parameters_total) / 1e9,
               static_cast<double>(f.parameters_active) / 1e9);
  }
  if (!in.quantization.empty()) fmt::print("quantized    {}\n", in.quantization);
  Table table({{"dtype"},
               {"tensors", Table::Align::kRight},
               {"elements", Table::Align::kRight},
               {"bytes", Table::Align::kRight}});
  for (const auto& [name, total] : in.by_dtype) {
    table.AddRow({name, fmt::format("{}", total.tensors), fmt::format("{}", total.parameters),
                  FormatBinaryBytes(static_cast<double>(total.bytes))});
  }
  table.Print(stdout);
  if (!in.quantization.empty() && in.model.ok()) PrintMatrixTypes((*in.model)->facts());
  if (flags.tensors) {
    Table list({{"tensor"}, {"dtype"}, {"shape"}});
    for (const auto& [name, tensor] : in.checkpoint->tensors.tensors()) {
      list.AddRow({name, std::string(engine::Name(tensor.view.dtype)),
                   engine::ToString(tensor.view.shape)});
    }
    list.Print(stdout);
  }
  if (in.plan.ok()) fmt::print("memory       {}\nfits: yes\n", engine::Describe(*in.plan));
}

}  // namespace

VerbRun SetUpInspect(CLI::App& app) {
  auto flags = std::make_shared<InspectFlags>();
  AddEngineFlags(app, &flags->engine);
  app.add_flag("--tensors", flags->tensors, "list every tensor");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags]() -> int {
    const absl::StatusOr<Inspection> inspection = Inspect(*flags);
    if (!inspection.ok()) return ReportError(inspection.status(), flags->json);
    if (flags->json) {
      PrintJson(*inspection, *flags);
    } else {
      PrintText(*inspection, *flags);
    }
    // What the engine cannot run or hold is said, and the exit code says it too.
    if (!inspection->model.ok()) return ReportError(inspection->model.status(), false);
    if (!inspection->plan.ok()) return ReportError(inspection->plan.status(), false);
    return kDone;
  };
}

}  // namespace inhouse::apps
