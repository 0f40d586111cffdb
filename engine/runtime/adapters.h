// The adapters that an engine offers by name: loaded and unloaded while it runs, within limits.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "engine/engine.h"
#include "engine/models/model.h"

namespace inhouse::engine {

// What the adapters of EngineOptions need, before anything is allocated.
struct AdapterPlan {
  int64_t rank_max = 0;  // of a module; 0: no adapters
  int64_t bytes = 0;
};

// Opens and checks options.adapters against the bound model. Errors name file and tensor.
absl::StatusOr<AdapterPlan> PlanAdapters(const Model& model, const KernelTable& kernels,
                                         const EngineOptions& options);

// An adapter in use: its weights live as long as anybody holds it.
struct LoadedAdapter {
  AdapterInfo info;
  std::shared_ptr<const ModelAdapter> weights;
};

// Thread-safe. One load runs at a time, on the caller's thread; finding an adapter never waits for
// one. An unloaded adapter goes on to serve the requests that hold it, and counts as memory until
// the last has ended.
class AdapterTable {
 public:
  struct Limits {
    int64_t count = 0;
    int64_t rank = 0;
    int64_t bytes = 0;  // of all together
  };
  // `model` must outlive it.
  AdapterTable(const Model& model, const KernelTable& kernels, const Limits& limits);

  // See Engine::LoadAdapter.
  absl::StatusOr<AdapterInfo> Load(const AdapterSource& source, bool replace);
  absl::Status Unload(const std::string& name);
  absl::StatusOr<std::shared_ptr<const LoadedAdapter>> Find(const std::string& name) const;
  std::vector<AdapterInfo> List() const;  // in the order of their names

 private:
  absl::Status CheckPlace(const std::string& name, bool replace) const ABSL_LOCKS_EXCLUDED(mutex_);
  int64_t BytesInUse() const ABSL_LOCKS_EXCLUDED(mutex_);

  const KernelTable& kernels_;
  const bool exact_;
  const std::vector<AdapterTarget> targets_;
  const Limits limits_;
  absl::Mutex loading_ ABSL_ACQUIRED_BEFORE(mutex_);
  mutable absl::Mutex mutex_;
  std::map<std::string, std::shared_ptr<const LoadedAdapter>> by_name_ ABSL_GUARDED_BY(mutex_);
  // Also those that only requests hold.
  mutable std::vector<std::weak_ptr<const ModelAdapter>> alive_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inhouse::engine
