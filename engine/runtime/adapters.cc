#include "engine/runtime/adapters.h"

#include <algorithm>
#include <set>
#include <string_view>
#include <utility>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "engine/formats/peft_adapter.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr size_t kNameBytesMax = 128;

absl::Status CheckName(const std::string& name) {
  const bool good = !name.empty() && name.size() <= kNameBytesMax &&
                    std::all_of(name.begin(), name.end(), [](char c) {
                      return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                             (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-' || c == '/';
                    });
  if (good) return absl::OkStatus();
  return base::InvalidInput(
      {.field = "adapter",
       .value = name,
       .expected = fmt::format("a name of at most {} letters, digits and . _ - /", kNameBytesMax)});
}

absl::Status Unknown(const std::string& name) {
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.field = "adapter", .value = name, .expected = "the name of a loaded adapter"});
}

// Of the weights that were bound (the file may have been replaced since) and the configuration, so
// that what is kept of an adapter's rows can be told from another's.
absl::StatusOr<std::string> Fingerprint(const PeftAdapter& peft) {
  base::Sha256 hash;
  INHOUSE_ASSIGN_OR_RETURN(const auto config, base::MappedFile::Open(peft.config().path()));
  for (const PeftModule& module : peft.modules()) {
    const StoredTensor* tensor = module.a != nullptr ? module.a : module.bias;
    if (tensor == nullptr) continue;
    hash.Update(tensor->file->bytes());
    break;  // all stand in one file
  }
  hash.Update(config->bytes());
  return hash.FinishHex();
}

}  // namespace

absl::StatusOr<AdapterPlan> PlanAdapters(const Model& model, const KernelTable& kernels,
                                         const EngineOptions& options) {
  AdapterPlan plan{.rank_max = options.adapter_rank_max};
  if (options.adapters.empty()) return plan;
  const std::vector<AdapterTarget> targets = model.adapter_targets();
  std::set<std::string> names;
  for (const AdapterSource& source : options.adapters) {
    INHOUSE_RETURN_IF_ERROR(CheckName(source.name));
    if (!names.insert(source.name).second) {
      return base::InputError(
          absl::StatusCode::kAlreadyExists,
          {.field = "adapter", .value = source.name, .expected = "each name once"});
    }
    INHOUSE_ASSIGN_OR_RETURN(const auto peft, PeftAdapter::Open(source.path));
    INHOUSE_ASSIGN_OR_RETURN(const int64_t bytes, ModelAdapter::Bytes(*peft, targets, kernels));
    plan.rank_max = std::max(plan.rank_max, peft->rank_max());
    plan.bytes += bytes;
  }
  return plan;
}

AdapterTable::AdapterTable(const Model& model, const KernelTable& kernels, const Limits& limits)
    : kernels_(kernels),
      exact_(model.exact()),
      targets_(model.adapter_targets()),
      limits_(limits) {}

absl::Status AdapterTable::CheckPlace(const std::string& name, bool replace) const {
  absl::MutexLock lock(&mutex_);
  const bool there = by_name_.contains(name);
  if (there && !replace) {
    return base::InputError(
        absl::StatusCode::kAlreadyExists,
        {.field = "adapter", .value = name, .expected = "a name that no loaded adapter has"});
  }
  if (there || static_cast<int64_t>(by_name_.size()) < limits_.count) return absl::OkStatus();
  return base::InputError(absl::StatusCode::kResourceExhausted,
                          {.field = "adapters",
                           .value = fmt::format("{} loaded", by_name_.size()),
                           .expected = fmt::format("at most {} at the same time", limits_.count),
                           .hint = "Unload another one first."});
}

int64_t AdapterTable::BytesInUse() const {
  absl::MutexLock lock(&mutex_);
  int64_t bytes = 0;
  std::erase_if(alive_, [&bytes](const std::weak_ptr<const ModelAdapter>& weak) {
    const auto adapter = weak.lock();
    if (adapter != nullptr) bytes += adapter->bytes();
    return adapter == nullptr;
  });
  return bytes;
}

absl::StatusOr<AdapterInfo> AdapterTable::Load(const AdapterSource& source, bool replace) {
  INHOUSE_RETURN_IF_ERROR(CheckName(source.name));
  absl::MutexLock loading(&loading_);
  INHOUSE_RETURN_IF_ERROR(CheckPlace(source.name, replace));
  INHOUSE_ASSIGN_OR_RETURN(const auto peft, PeftAdapter::Open(source.path));
  auto loaded = std::make_shared<LoadedAdapter>();
  INHOUSE_ASSIGN_OR_RETURN(
      loaded->weights,
      ModelAdapter::Bind(
          *peft, targets_, kernels_,
          {.exact = exact_, .rank_max = limits_.rank, .bytes_max = limits_.bytes - BytesInUse()}));
  loaded->info = {.name = source.name,
                  .path = source.path,
                  .base_model = peft->config().base_model(),
                  .rank = peft->rank_max(),
                  .bytes = loaded->weights->bytes()};
  INHOUSE_ASSIGN_OR_RETURN(loaded->info.fingerprint, Fingerprint(*peft));
  absl::MutexLock lock(&mutex_);
  alive_.push_back(loaded->weights);
  by_name_[source.name] = loaded;
  return loaded->info;
}

absl::Status AdapterTable::Unload(const std::string& name) {
  std::shared_ptr<const LoadedAdapter> last;  // freed without the lock
  absl::MutexLock lock(&mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return Unknown(name);
  last = std::move(found->second);
  by_name_.erase(found);
  return absl::OkStatus();
}

absl::StatusOr<std::shared_ptr<const LoadedAdapter>> AdapterTable::Find(
    const std::string& name) const {
  absl::MutexLock lock(&mutex_);
  const auto found = by_name_.find(name);
  if (found == by_name_.end()) return Unknown(name);
  return found->second;
}

std::vector<AdapterInfo> AdapterTable::List() const {
  absl::MutexLock lock(&mutex_);
  std::vector<AdapterInfo> out;
  for (const auto& [name, adapter] : by_name_) out.push_back(adapter->info);
  return out;
}

}  // namespace inhouse::engine
