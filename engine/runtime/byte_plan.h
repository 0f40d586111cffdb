// What a model will take of this machine's memory, before anything is allocated.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "engine/models/model.h"
#include "engine/runtime/adapters.h"

namespace inhouse::engine {

// Memory that this process may still take: MemAvailable, bounded by the cgroup's limit.
int64_t AvailableMemory();

// EngineOptions::kv_type as a type of pages, none for "auto". InvalidArgument for other names.
absl::StatusOr<std::optional<DType>> ParseKvType(const std::string& name);

struct BytePlan {
  ByteSize bytes;
  StepLimits limits;
  int64_t pages = 0;
  int64_t available = 0;
  int64_t adapter_bytes_max = 0;  // of all adapters, also those loaded later
  int64_t total() const { return bytes.weights + bytes.kv + bytes.scratch + bytes.adapters; }
};

// Sizes buffers and KV pages for the options. ResourceExhausted with the whole plan in the text if
// it does not fit into `available`.
absl::StatusOr<BytePlan> PlanBytes(const Model& model, const EngineOptions& options,
                                   const AdapterPlan& adapters, int threads, int64_t available);

// "weights 1.2 GiB + KV 3.5 GiB (131072 tokens in f16) + scratch 80 MiB = 4.8 GiB of 20.1 GiB
// available"
std::string Describe(const BytePlan& plan);

}  // namespace inhouse::engine
