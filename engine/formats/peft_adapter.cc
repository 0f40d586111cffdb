#include "engine/formats/peft_adapter.h"

#include <algorithm>
#include <filesystem>
#include <map>
#include <string_view>
#include <system_error>
#include <utility>

#include "base/status.h"
#include "engine/formats/printable.h"
#include "engine/formats/safetensors.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kConfigName = "adapter_config.json";
constexpr std::string_view kWeightsName = "adapter_model.safetensors";
constexpr std::string_view kPrefix = "base_model.model.";

bool Exists(const fs::path& path) {
  std::error_code error;
  return fs::exists(path, error);
}

absl::Status Bad(const StoredTensor& tensor, std::string value, std::string expected) {
  return base::InvalidInput({.file = tensor.file->path(),
                             .field = fmt::format("tensor '{}'", Printable(tensor.name, 160)),
                             .value = std::move(value),
                             .expected = std::move(expected)});
}

absl::Status CheckDirectory(const std::string& directory) {
  std::error_code error;
  const fs::file_status status = fs::status(directory, error);
  if (!fs::exists(status)) return base::OsError(error ? error.value() : ENOENT, directory, "open");
  if (!fs::is_directory(status)) {
    return base::InvalidInput(
        {.file = directory,
         .expected = fmt::format("a directory with {} and {}", kConfigName, kWeightsName)});
  }
  for (const std::string_view name : {kConfigName, kWeightsName}) {
    const fs::path file = fs::path(directory) / name;
    if (Exists(file)) continue;
    const bool pickled = Exists(fs::path(directory) / "adapter_model.bin");
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.file = file.string(),
         .expected =
             fmt::format("to be there: a PEFT adapter has {} and {}", kConfigName, kWeightsName),
         .hint = name == kWeightsName && pickled
                     ? "adapter_model.bin is not read: save the adapter as safetensors."
                     : ""});
  }
  return absl::OkStatus();
}

enum class Role { kA, kB, kBBias, kBias, kCopy };

// What a tensor's name says: "base_model.model." + module + ".lora_A" + [adapter name] + ".weight".
struct Place {
  std::string module;
  Role role;
};

// ".weight" or, as in the state of a live model, ".default.weight" (any adapter's name).
bool IsTail(std::string_view tail, std::string_view leaf) {
  if (tail == leaf) return true;
  if (!tail.ends_with(leaf) || !tail.starts_with('.')) return false;
  const std::string_view adapter = tail.substr(1, tail.size() - leaf.size() - 1);
  return !adapter.empty() && adapter.find('.') == std::string_view::npos;
}

absl::StatusOr<Place> PlaceOf(const StoredTensor& tensor) {
  std::string_view name = tensor.name;
  if (name.starts_with(kPrefix)) name.remove_prefix(kPrefix.size());
  constexpr std::pair<std::string_view, std::string_view> kRefused[] = {
      {".lora_magnitude_vector", "no magnitudes: DoRA is not supported"},
      {".lora_embedding_A", "linear modules only: adapters of embeddings are not supported"},
      {".lora_embedding_B", "linear modules only: adapters of embeddings are not supported"},
      {".modules_to_save", "no whole modules: modules_to_save is not supported"},
  };
  for (const auto& [part, expected] : kRefused) {
    if (name.find(part) != std::string_view::npos) return Bad(tensor, "", std::string(expected));
  }
  constexpr std::string_view kA = ".lora_A";
  constexpr std::string_view kB = ".lora_B";
  if (const size_t at = name.rfind(kA); at != std::string_view::npos && at > 0) {
    if (IsTail(name.substr(at + kA.size()), ".weight"))
      return Place{std::string(name.substr(0, at)), Role::kA};
  }
  if (const size_t at = name.rfind(kB); at != std::string_view::npos && at > 0) {
    const std::string_view tail = name.substr(at + kB.size());
    if (IsTail(tail, ".weight")) return Place{std::string(name.substr(0, at)), Role::kB};
    if (IsTail(tail, ".bias")) return Place{std::string(name.substr(0, at)), Role::kBBias};
  }
  for (const std::string_view suffix : {".base_layer.bias", ".bias"}) {
    if (name.ends_with(suffix) && name.size() > suffix.size()) {
      return Place{std::string(name.substr(0, name.size() - suffix.size())), Role::kBias};
    }
  }
  constexpr std::string_view kCopy = ".base_layer.weight";
  if (name.ends_with(kCopy) && name.size() > kCopy.size()) {
    return Place{std::string(name.substr(0, name.size() - kCopy.size())), Role::kCopy};
  }
  return Bad(tensor, "", "<module>.lora_A.weight, <module>.lora_B.weight or a bias");
}

const StoredTensor** Slot(PeftModule* module, Role role) {
  switch (role) {
    case Role::kA:
      return &module->a;
    case Role::kB:
      return &module->b;
    case Role::kBBias:
      return &module->b_bias;
    case Role::kBias:
      return &module->bias;
    case Role::kCopy:
      break;
  }
  return nullptr;
}

absl::Status CheckTensor(const StoredTensor& tensor, Role role) {
  const DType dtype = tensor.view.dtype;
  if (role != Role::kCopy && dtype != DType::kF32 && dtype != DType::kF16 &&
      dtype != DType::kBF16) {
    return Bad(tensor, std::string(Name(dtype)), "F32, F16 or BF16");
  }
  const size_t rank = role == Role::kBBias || role == Role::kBias ? 1 : 2;
  const Shape& shape = tensor.view.shape;
  const bool whole = std::all_of(shape.begin(), shape.end(), [](int64_t n) { return n > 0; });
  if (shape.size() != rank || !whole) {
    return Bad(tensor, ToString(shape),
               rank == 2 ? "a matrix; parts of a sharded save must be gathered first" : "a vector");
  }
  return absl::OkStatus();
}

// A and B belong together and have the rank that the config gives the module.
absl::Status CheckModule(const PeftConfig& config, PeftModule* module) {
  const StoredTensor* any = module->a != nullptr      ? module->a
                            : module->b != nullptr    ? module->b
                            : module->bias != nullptr ? module->bias
                                                      : module->b_bias;
  if (module->bias != nullptr && !config.trains_biases()) {
    return Bad(*module->bias, "", fmt::format("no bias: {} says bias = none", kConfigName));
  }
  if (module->a == nullptr && module->b == nullptr && module->b_bias == nullptr) {
    return absl::OkStatus();
  }
  if (module->a == nullptr || module->b == nullptr) {
    return Bad(*any, "",
               fmt::format("lora_A and lora_B of '{}', {} is missing", Printable(module->name, 160),
                           module->a == nullptr ? "lora_A" : "lora_B"));
  }
  if (!config.Targets(module->name)) {
    return Bad(*any, "", fmt::format("a module that target_modules of {} names", kConfigName));
  }
  const PeftConfig::Strength strength = config.StrengthOf(module->name);
  module->rank = strength.rank;
  module->scale = strength.scale;
  const Shape& a = module->a->view.shape;
  const Shape& b = module->b->view.shape;
  if (a[0] != strength.rank) {
    return Bad(*module->a, ToString(a),
               fmt::format("[{}, in]: r and rank_pattern give this module rank {}", strength.rank,
                           strength.rank));
  }
  if (b[1] != strength.rank) {
    return Bad(*module->b, ToString(b),
               fmt::format("[out, {}]: r and rank_pattern give this module rank {}", strength.rank,
                           strength.rank));
  }
  if (module->b_bias != nullptr && module->b_bias->view.shape[0] != b[0]) {
    return Bad(*module->b_bias, ToString(module->b_bias->view.shape),
               fmt::format("[{}], the rows of lora_B", b[0]));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<PeftAdapter>> PeftAdapter::Open(const std::string& directory) {
  INHOUSE_RETURN_IF_ERROR(CheckDirectory(directory));
  std::unique_ptr<PeftAdapter> adapter(new PeftAdapter());
  adapter->path_ = directory;
  adapter->weights_path_ = (fs::path(directory) / kWeightsName).string();
  INHOUSE_ASSIGN_OR_RETURN(adapter->config_,
                           PeftConfig::Load((fs::path(directory) / kConfigName).string()));
  INHOUSE_RETURN_IF_ERROR(ReadSafetensors(adapter->weights_path_, &adapter->tensors_));
  INHOUSE_RETURN_IF_ERROR(adapter->CollectModules());
  return adapter;
}

absl::Status PeftAdapter::CollectModules() {
  std::map<std::string, PeftModule> modules;
  for (const auto& [name, tensor] : tensors_.tensors()) {
    INHOUSE_ASSIGN_OR_RETURN(const Place place, PlaceOf(tensor));
    INHOUSE_RETURN_IF_ERROR(CheckTensor(tensor, place.role));
    if (place.role == Role::kCopy) {
      copies_.push_back({place.module, &tensor});
      continue;
    }
    PeftModule& module = modules[place.module];
    module.name = place.module;
    const StoredTensor** slot = Slot(&module, place.role);
    if (*slot != nullptr) {
      return Bad(tensor, "",
                 fmt::format("one tensor of this kind for '{}'; '{}' is another",
                             Printable(place.module, 160), Printable((*slot)->name, 160)));
    }
    *slot = &tensor;
  }
  for (auto& [name, module] : modules) {
    INHOUSE_RETURN_IF_ERROR(CheckModule(config_, &module));
    modules_.push_back(std::move(module));
  }
  if (rank_max() > 0) return absl::OkStatus();
  return base::InvalidInput({.file = weights_path_, .expected = "at least one lora_A and lora_B"});
}

int64_t PeftAdapter::rank_max() const {
  int64_t rank = 0;
  for (const PeftModule& module : modules_) rank = std::max(rank, module.rank);
  return rank;
}

}  // namespace inhouse::engine
