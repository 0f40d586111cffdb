#include "engine/models/adapter.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <map>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "engine/kernels/kernel_table.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

absl::Status Bad(const StoredTensor& tensor, std::string value, std::string expected) {
  return base::InvalidInput({.file = tensor.file->path(),
                             .field = fmt::format("tensor '{}'", tensor.name),
                             .value = std::move(value),
                             .expected = std::move(expected)});
}

const StoredTensor& AnyTensor(const PeftModule& module) {
  return module.a != nullptr ? *module.a : *module.bias;
}

absl::Status CheckShapes(const PeftModule& module, const AdapterTarget& target) {
  if (module.rank > 0) {
    const Shape a{module.rank, target.in};
    const Shape b{target.out_rows, module.rank};
    const char* why = "the base model's '{}' is {}: is this adapter for another model?";
    const std::string base =
        fmt::format(fmt::runtime(why), target.module, ToString({target.out_rows, target.in}));
    if (module.a->view.shape != a)
      return Bad(*module.a, ToString(module.a->view.shape), ToString(a) + ", " + base);
    if (module.b->view.shape != b)
      return Bad(*module.b, ToString(module.b->view.shape), ToString(b) + ", " + base);
  }
  if (module.bias == nullptr) return absl::OkStatus();
  const Shape shape{target.out_rows};
  if (module.bias->view.shape != shape)
    return Bad(*module.bias, ToString(module.bias->view.shape), ToString(shape));
  if (target.bias.empty()) {
    return Bad(*module.bias, "",
               fmt::format("no bias: the base model's '{}' has none", target.module));
  }
  return absl::OkStatus();
}

// Each target with the adapter's module for it, null if it has none; in the order of the targets.
absl::StatusOr<std::vector<const PeftModule*>> Match(const PeftAdapter& peft,
                                                     std::span<const AdapterTarget> targets) {
  std::map<std::string_view, size_t> by_name;
  for (size_t i = 0; i < targets.size(); ++i) by_name.emplace(targets[i].module, i);
  std::vector<const PeftModule*> found(targets.size(), nullptr);
  for (const PeftModule& module : peft.modules()) {
    const auto target = by_name.find(module.name);
    if (target == by_name.end()) {
      return Bad(AnyTensor(module), "",
                 "a linear module of the base model: is this adapter for another model?");
    }
    INHOUSE_RETURN_IF_ERROR(CheckShapes(module, targets[target->second]));
    found[target->second] = &module;
  }
  for (size_t i = 0; i < targets.size(); ++i) {
    const bool there = found[i] != nullptr && found[i]->rank > 0;
    if (there || !peft.config().Targets(targets[i].module)) continue;
    return base::InvalidInput(
        {.file = peft.weights_path(),
         .field = fmt::format("tensor 'base_model.model.{}.lora_A.weight'", targets[i].module),
         .expected = "to be there: target_modules of adapter_config.json names this module"});
  }
  return found;
}

absl::Status CheckCopies(const PeftAdapter& peft, std::span<const AdapterTarget> targets) {
  for (const PeftCopy& copy : peft.copies()) {
    const auto target =
        std::find_if(targets.begin(), targets.end(),
                     [&copy](const AdapterTarget& t) { return t.module == copy.module; });
    const StoredTensor* own = target == targets.end() ? nullptr : target->weight;
    if (target == targets.end()) {
      return Bad(*copy.tensor, "", "a copy of a module that the base model has");
    }
    // Quantized weights cannot be compared with those that they were made from.
    if (own == nullptr || own->view.dtype != copy.tensor->view.dtype) continue;
    const auto mine = own->view.bytes;
    const auto theirs = copy.tensor->view.bytes;
    if (mine.size() != theirs.size() || std::memcmp(mine.data(), theirs.data(), mine.size()) != 0) {
      return Bad(*copy.tensor, "",
                 fmt::format("the base model's own weights of '{}': changed ones are not supported",
                             copy.module));
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<float>> FiniteFloats(const StoredTensor& tensor) {
  const int64_t n = ElementCount(tensor.view.shape);
  std::vector<float> values(static_cast<size_t>(n));
  DequantizeRow(tensor.view.dtype, tensor.view.bytes.data(), n, values.data());
  const auto bad =
      std::find_if(values.begin(), values.end(), [](float v) { return !std::isfinite(v); });
  if (bad == values.end()) return values;
  return Bad(tensor, fmt::format("{} at element {}", *bad, bad - values.begin()), "finite numbers");
}

LowRankPart ShapeOf(const PeftModule& module, const AdapterTarget& target) {
  return {.out_begin = target.out_begin, .out_rows = target.out_rows, .rank = module.rank};
}

// The values of one part; the scale goes into B and its bias.
absl::Status Fill(const PeftModule& module, const AdapterTarget& target, LowRankPart* part) {
  if (module.rank > 0) {
    INHOUSE_ASSIGN_OR_RETURN(part->a, FiniteFloats(*module.a));
    INHOUSE_ASSIGN_OR_RETURN(part->b, FiniteFloats(*module.b));
    for (float& v : part->b) v = static_cast<float>(double{v} * module.scale);
    if (!std::all_of(part->b.begin(), part->b.end(), [](float v) { return std::isfinite(v); })) {
      return Bad(*module.b, fmt::format("times the scale {}", module.scale), "finite numbers");
    }
  }
  if (module.b_bias != nullptr) {
    INHOUSE_ASSIGN_OR_RETURN(part->shift, FiniteFloats(*module.b_bias));
    for (float& v : part->shift) v = static_cast<float>(double{v} * module.scale);
  }
  if (module.bias != nullptr) {
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<float> bias, FiniteFloats(*module.bias));
    part->shift.resize(bias.size(), 0.0F);
    for (size_t i = 0; i < bias.size(); ++i) part->shift[i] += bias[i] - target.bias[i];
  }
  return absl::OkStatus();
}

// One type for the whole adapter: F16 if all of its matrices bear it.
absl::StatusOr<DType> StoredType(std::span<const AdapterTarget> targets,
                                 const std::vector<const PeftModule*>& modules, bool exact) {
  if (exact) return DType::kF32;
  for (size_t i = 0; i < modules.size(); ++i) {
    if (modules[i] == nullptr) continue;
    LowRankPart part = ShapeOf(*modules[i], targets[i]);
    INHOUSE_RETURN_IF_ERROR(Fill(*modules[i], targets[i], &part));
    if (!FitsF16(part.a) || !FitsF16(part.b)) return DType::kF32;
  }
  return DType::kF16;
}

absl::Status CheckRank(const PeftAdapter& peft, int64_t rank_max) {
  if (peft.rank_max() <= rank_max) return absl::OkStatus();
  return base::InputError(
      absl::StatusCode::kResourceExhausted,
      {.file = peft.config().path(),
       .field = "r",
       .value = fmt::format("{}", peft.rank_max()),
       .expected = fmt::format("at most {}, the limit of this engine", rank_max),
       .hint = "The limit is set when the engine starts: EngineOptions::adapter_rank_max, serve "
               "--max-adapter-rank."});
}

size_t LinearCount(std::span<const AdapterTarget> targets) {
  size_t count = 0;
  for (const AdapterTarget& target : targets) count = std::max(count, target.linear + 1);
  return count;
}

// The updates without their values.
std::vector<std::vector<size_t>> TargetsByLinear(std::span<const AdapterTarget> targets,
                                                 const std::vector<const PeftModule*>& modules) {
  std::vector<std::vector<size_t>> out(LinearCount(targets));
  for (size_t i = 0; i < targets.size(); ++i) {
    if (modules[i] != nullptr) out[targets[i].linear].push_back(i);
  }
  for (std::vector<size_t>& of : out) {
    std::sort(of.begin(), of.end(), [&targets](size_t a, size_t b) {
      return targets[a].out_begin < targets[b].out_begin;
    });
  }
  return out;
}

}  // namespace

absl::StatusOr<int64_t> ModelAdapter::Bytes(const PeftAdapter& peft,
                                            std::span<const AdapterTarget> targets,
                                            const KernelTable& kernels) {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<const PeftModule*> modules, Match(peft, targets));
  int64_t bytes = 0;
  for (const std::vector<size_t>& indices : TargetsByLinear(targets, modules)) {
    std::vector<LowRankPart> parts;
    for (const size_t i : indices) parts.push_back(ShapeOf(*modules[i], targets[i]));
    if (parts.empty()) continue;
    bytes += LowRank(kernels, DType::kF32, targets[indices[0]].in, parts).packed_bytes();
  }
  return bytes;
}

absl::StatusOr<std::shared_ptr<const ModelAdapter>> ModelAdapter::Bind(
    const PeftAdapter& peft, std::span<const AdapterTarget> targets, const KernelTable& kernels,
    const AdapterLimits& limits) {
  INHOUSE_RETURN_IF_ERROR(CheckRank(peft, limits.rank_max));
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<const PeftModule*> modules, Match(peft, targets));
  INHOUSE_RETURN_IF_ERROR(CheckCopies(peft, targets));
  INHOUSE_ASSIGN_OR_RETURN(const int64_t bytes, Bytes(peft, targets, kernels));
  if (bytes > limits.bytes_max) {
    return base::InputError(
        absl::StatusCode::kResourceExhausted,
        {.file = peft.path(),
         .field = "memory",
         .value = fmt::format("{} bytes", bytes),
         .expected = fmt::format("at most {} bytes, what is left for adapters", limits.bytes_max),
         .hint = "Unload another adapter, or give adapters more memory."});
  }
  INHOUSE_ASSIGN_OR_RETURN(const DType stored, StoredType(targets, modules, limits.exact));
  auto adapter = std::make_shared<ModelAdapter>();
  adapter->memory_ = Arena(static_cast<size_t>(bytes));  // untouched pages take no memory
  const auto by_linear = TargetsByLinear(targets, modules);
  adapter->updates_.resize(by_linear.size());
  std::byte* next = adapter->memory_.data();
  for (size_t linear = 0; linear < by_linear.size(); ++linear) {
    if (by_linear[linear].empty()) continue;
    std::vector<LowRankPart> parts;
    for (const size_t i : by_linear[linear]) {
      parts.push_back(ShapeOf(*modules[i], targets[i]));
      INHOUSE_RETURN_IF_ERROR(Fill(*modules[i], targets[i], &parts.back()));
    }
    LowRank update(kernels, stored, targets[by_linear[linear][0]].in, parts);
    update.Pack(parts, next);
    next += update.packed_bytes();
    adapter->bytes_ += update.packed_bytes();
    adapter->updates_[linear] = std::move(update);
  }
  return adapter;
}

StepAdapters::StepAdapters(const StepPlan& plan, size_t linears) {
  for (size_t s = 0; s < plan.adapters.size(); ++s) {
    const ModelAdapter* adapter = plan.adapters[s];
    if (adapter == nullptr) continue;
    auto group = std::find_if(groups_.begin(), groups_.end(),
                              [adapter](const Group& g) { return g.adapter == adapter; });
    if (group == groups_.end()) group = groups_.insert(group, {adapter, {}, {}});
    const SequenceSlice& slice = plan.sequences[s];
    for (int64_t i = 0; i < slice.tokens; ++i) group->rows.push_back(slice.row + i);
    const auto first = std::lower_bound(plan.logit_rows.begin(), plan.logit_rows.end(), slice.row);
    const auto last = std::lower_bound(first, plan.logit_rows.end(), slice.row + slice.tokens);
    for (auto it = first; it != last; ++it)
      group->logit_rows.push_back(it - plan.logit_rows.begin());
  }
  if (groups_.empty()) return;
  products_.resize(linears);
  for (size_t linear = 0; linear < linears; ++linear) {
    for (const Group& group : groups_) {
      const LowRank* update = group.adapter->update(linear);
      const std::vector<int64_t>& rows = linear + 1 == linears ? group.logit_rows : group.rows;
      if (update != nullptr && !rows.empty()) products_[linear].push_back({update, rows});
    }
  }
}

}  // namespace inhouse::engine
