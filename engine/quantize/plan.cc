#include "engine/quantize/plan.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <utility>

#include "base/status.h"
#include "engine/tensor/float16.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using How = PlannedTensor::How;

// A group smaller than this costs more for scales than it gains.
constexpr int64_t kGroupMin = 32;
constexpr int64_t kFp8Block = 128;  // of DeepSeek's checkpoints

// Modules that stay as they are, by the last part of their name: tables that are looked up, the
// head, the routers of experts, and what DeepSeek's own FP8 checkpoints keep in BF16.
constexpr std::array<std::string_view, 8> kKept = {"embed_tokens",       "lm_head", "gate",
                                                   "shared_expert_gate", "eh_proj", "head",
                                                   "weights_proj",       "embed"};

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

std::string_view LastPart(std::string_view module) { return module.substr(module.rfind('.') + 1); }

bool IsFloat(DType dtype) {
  return dtype == DType::kF32 || dtype == DType::kF16 || dtype == DType::kBF16 ||
         dtype == DType::kF64;
}

bool Quantizable(const SourceTensor& tensor) {
  const std::string module = tensor.module();
  return tensor.matrix && !module.empty() &&
         std::find(kKept.begin(), kKept.end(), LastPart(module)) == kKept.end();
}

int64_t GroupOf(int64_t columns, int64_t group) {
  while (group >= kGroupMin && columns % group != 0) group /= 2;
  return group >= kGroupMin ? group : 0;
}

// Norms and biases of GGUF files are F32, most of them converted from BF16.
bool FitsBF16(const Source& source, const SourceTensor& tensor) {
  std::vector<float> row(static_cast<size_t>(tensor.columns()));
  for (int64_t i = 0; i < tensor.rows(); ++i) {
    source.ReadRows(tensor, i, 1, row.data());
    for (const float value : row) {
      if (FromBF16(ToBF16(value)) != value) return false;
    }
  }
  return true;
}

class Planner {
 public:
  Planner(const Source& source, const PlanOptions& options) : source_(source) {
    plan_.options = options;
  }

  absl::StatusOr<QuantPlan> Plan() {
    if (plan_.options.fp8_block == 0) plan_.options.fp8_block = ChooseFp8Block();
    for (const SourceTensor& tensor : source_.tensors()) {
      INHOUSE_ASSIGN_OR_RETURN(PlannedTensor planned, PlanTensor(tensor));
      plan_.parameters += ElementCount(tensor.shape);
      plan_.output_bytes += planned.output_bytes();
      if (planned.quantized()) {
        plan_.quantized_bytes += planned.output_bytes();
        plan_.quantized_parameters += ElementCount(tensor.shape);
      }
      plan_.tensors.push_back(std::move(planned));
    }
    if (plan_.options.format != QuantFormat::kBF16 && plan_.quantized_parameters == 0) {
      return base::InvalidInput(
          {.file = source_.checkpoint().path,
           .expected =
               fmt::format("matrices of linear layers whose columns divide by {}", kGroupMin)});
    }
    CutShards();
    return std::move(plan_);
  }

 private:
  int64_t ChooseFp8Block() const {
    const auto& config = source_.config();
    const auto type = config.find("model_type");
    if (type != config.end() && type->is_string() &&
        type->get_ref<const std::string&>().starts_with("deepseek")) {
      return kFp8Block;
    }
    for (int64_t block = kFp8Block; block >= kGroupMin; block /= 2) {
      const auto divides = [block](const SourceTensor& tensor) {
        return !Quantizable(tensor) ||
               (tensor.rows() % block == 0 && tensor.columns() % block == 0);
      };
      if (std::all_of(source_.tensors().begin(), source_.tensors().end(), divides)) return block;
    }
    return kFp8Block;
  }

  absl::StatusOr<PlannedTensor> PlanTensor(const SourceTensor& tensor) const {
    PlannedTensor out{.source = &tensor};
    const DType stored = tensor.stored->view.dtype;
    const QuantFormat format = plan_.options.format;
    if (Quantizable(tensor) && format != QuantFormat::kBF16) {
      if (format == QuantFormat::kFp8) {
        SpecifyFp8(tensor, &out);
        return out;
      }
      if (const int64_t group = GroupOf(tensor.columns(), plan_.options.group); group > 0) {
        SpecifyInt(tensor, format == QuantFormat::kInt4 ? 4 : 8, group, &out);
        return out;
      }
    }
    const bool as_it_is =
        !source_.from_gguf() && !tensor.assembled() &&
        (format != QuantFormat::kBF16 || stored == DType::kBF16 || !IsFloat(stored));
    DType dtype = stored;
    if (!as_it_is) {
      const bool exact = tensor.is_matrix() || FitsBF16(source_, tensor);
      out.how = exact ? How::kBF16 : How::kF32;
      dtype = exact ? DType::kBF16 : DType::kF32;
    }
    out.outputs = {{tensor.name, dtype, tensor.shape}};
    return out;
  }

  void SpecifyFp8(const SourceTensor& tensor, PlannedTensor* out) const {
    const int64_t block = plan_.options.fp8_block;
    out->group = block;
    out->how = How::kFp8;
    out->outputs = {{tensor.name, DType::kF8E4M3, tensor.shape},
                    {tensor.module() + ".weight_scale_inv",
                     DType::kF32,
                     {CeilDiv(tensor.rows(), block), CeilDiv(tensor.columns(), block)}}};
  }

  static void SpecifyInt(const SourceTensor& tensor, int bits, int64_t group, PlannedTensor* out) {
    out->how = How::kInt;
    out->bits = bits;
    out->group = group;
    const int64_t rows = tensor.rows();
    const int64_t columns = tensor.columns();
    const std::string module = tensor.module();
    out->outputs = {{module + ".weight_packed", DType::kI32, {rows, columns * bits / 32}},
                    {module + ".weight_scale", DType::kBF16, {rows, columns / group}},
                    {module + ".weight_shape", DType::kI64, {2}}};
  }

  // Fills files in order; a file has one tensor at least.
  void CutShards() {
    int64_t bytes = 0;
    for (size_t i = 0; i < plan_.tensors.size(); ++i) {
      const int64_t next = plan_.tensors[i].output_bytes();
      if (plan_.shards.empty() || bytes + next > plan_.options.shard_bytes) {
        plan_.shards.push_back({"", i, i});
        bytes = 0;
      }
      plan_.shards.back().end = i + 1;
      bytes += next;
    }
    const size_t count = plan_.shards.size();
    for (size_t i = 0; i < count; ++i) {
      plan_.shards[i].file = count == 1
                                 ? "model.safetensors"
                                 : fmt::format("model-{:05}-of-{:05}.safetensors", i + 1, count);
    }
  }

  const Source& source_;
  QuantPlan plan_;
};

std::vector<std::string> KeptModules(const QuantPlan& plan) {
  std::vector<std::string> modules;
  for (const PlannedTensor& tensor : plan.tensors) {
    const std::string module = tensor.source->module();
    if (tensor.source->is_matrix() && !module.empty() && !tensor.quantized() &&
        !LastPart(module).starts_with("embed")) {
      modules.push_back(module);
    }
  }
  // The head of a model with tied embeddings has no tensor of its own.
  if (std::find(modules.begin(), modules.end(), "lm_head") == modules.end()) {
    modules.push_back("lm_head");
  }
  return modules;
}

// Targets of the modules that have another group than most: compressed-tensors matches names before
// classes.
nlohmann::ordered_json ConfigGroups(const QuantPlan& plan) {
  using nlohmann::ordered_json;
  std::map<int64_t, std::vector<std::string>, std::greater<>> by_group;
  for (const PlannedTensor& tensor : plan.tensors) {
    if (tensor.how == How::kInt) by_group[tensor.group].push_back(tensor.source->module());
  }
  const auto most = std::max_element(
      by_group.begin(), by_group.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  ordered_json groups = ordered_json::object();
  const auto add = [&](int64_t size, ordered_json targets) {
    groups[fmt::format("group_{}", groups.size())] = {
        {"targets", std::move(targets)},
        {"weights",
         {{"num_bits", plan.options.format == QuantFormat::kInt4 ? 4 : 8},
          {"type", "int"},
          {"symmetric", true},
          {"strategy", "group"},
          {"group_size", size},
          {"dynamic", false},
          {"actorder", nullptr}}},
        {"input_activations", nullptr},
        {"output_activations", nullptr}};
  };
  for (const auto& [size, modules] : by_group) {
    if (size != most->first) add(size, modules);
  }
  add(most->first, {"Linear"});
  return groups;
}

}  // namespace

std::string_view Name(QuantFormat format) {
  switch (format) {
    case QuantFormat::kBF16:
      return "bf16";
    case QuantFormat::kFp8:
      return "fp8";
    case QuantFormat::kInt8:
      return "int8";
    case QuantFormat::kInt4:
      return "int4";
  }
  return "";
}

int64_t PlannedTensor::output_bytes() const {
  int64_t bytes = 0;
  for (const SafetensorsSpec& output : outputs) {
    bytes += RowBytes(output.dtype, ElementCount(output.shape));
  }
  return bytes;
}

absl::StatusOr<QuantPlan> MakePlan(const Source& source, const PlanOptions& options) {
  return Planner(source, options).Plan();
}

nlohmann::ordered_json QuantizationConfig(const QuantPlan& plan) {
  switch (plan.options.format) {
    case QuantFormat::kBF16:
      return nullptr;
    case QuantFormat::kFp8:
      return {{"quant_method", "fp8"},
              {"fmt", "e4m3"},
              {"activation_scheme", "dynamic"},
              {"weight_block_size", {plan.options.fp8_block, plan.options.fp8_block}},
              {"modules_to_not_convert", KeptModules(plan)}};
    case QuantFormat::kInt8:
    case QuantFormat::kInt4:
      return {{"quant_method", "compressed-tensors"}, {"format", "pack-quantized"},
              {"quantization_status", "compressed"},  {"config_groups", ConfigGroups(plan)},
              {"ignore", KeptModules(plan)},          {"kv_cache_scheme", nullptr},
              {"global_compression_ratio", nullptr}};
  }
  return nullptr;
}

nlohmann::ordered_json ShardIndex(const QuantPlan& plan) {
  nlohmann::ordered_json map = nlohmann::ordered_json::object();
  for (const PlannedShard& shard : plan.shards) {
    for (size_t i = shard.begin; i < shard.end; ++i) {
      for (const SafetensorsSpec& output : plan.tensors[i].outputs) map[output.name] = shard.file;
    }
  }
  return {{"metadata", {{"total_size", plan.output_bytes}}}, {"weight_map", std::move(map)}};
}

}  // namespace inhouse::engine
