// An adapter's weights, bound to one model, and which rows of a step they change.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/peft_adapter.h"
#include "engine/models/step_plan.h"
#include "engine/ops/low_rank.h"
#include "engine/tensor/arena.h"

namespace inhouse::engine {

// A linear module of the base model as PEFT names it (by Hugging Face's names, whatever the
// checkpoint calls it), and where its outputs stand among the model's products.
struct AdapterTarget {
  std::string module;  // "model.layers.0.self_attn.q_proj"
  size_t linear = 0;   // index into Model::linears()
  int64_t in = 0;
  int64_t out_begin = 0;
  int64_t out_rows = 0;
  std::span<const float> bias = {};  // of these outputs, or empty
  const StoredTensor* weight =
      nullptr;  // null: assembled from several tensors, or under other names
};

struct AdapterLimits {
  // The base model promises results as exact as float32's: A and B stay in F32. Else they are kept
  // in F16 where that costs next to nothing, which halves what a token reads of them.
  bool exact = true;
  int64_t rank_max = 0;  // of a module
  int64_t bytes_max = 0;
};

// Immutable; any thread may read. Shared by whoever offers it and by the requests that use it.
class ModelAdapter {
 public:
  // InvalidArgument that names file, tensor, shape and expectation if the adapter was made for
  // another model or has no tensors for a module that it says it changes; ResourceExhausted beyond
  // the limits, before anything is allocated. `peft` is not needed afterwards.
  static absl::StatusOr<std::shared_ptr<const ModelAdapter>> Bind(
      const PeftAdapter& peft, std::span<const AdapterTarget> targets, const KernelTable& kernels,
      const AdapterLimits& limits);

  // What Bind would allocate at most.
  static absl::StatusOr<int64_t> Bytes(const PeftAdapter& peft,
                                       std::span<const AdapterTarget> targets,
                                       const KernelTable& kernels);

  int64_t bytes() const { return bytes_; }
  // Null if the adapter leaves this product alone.
  const LowRank* update(size_t linear) const {
    return linear < updates_.size() && !updates_[linear].empty() ? &updates_[linear] : nullptr;
  }

 private:
  int64_t bytes_ = 0;
  std::vector<LowRank> updates_;  // by index of the product
  Arena memory_;
};

// For one step: which rows of which product each adapter changes. Made before the team runs.
class StepAdapters {
 public:
  // `linears` as Model::linears(): the last one computes the logits of the plan's logit rows.
  StepAdapters(const StepPlan& plan, size_t linears);

  // Empty if nobody changes that product.
  std::span<const LowRankRows> of(size_t linear) const {
    return linear < products_.size() ? std::span<const LowRankRows>(products_[linear])
                                     : std::span<const LowRankRows>();
  }

 private:
  struct Group {
    const ModelAdapter* adapter;
    std::vector<int64_t> rows;
    std::vector<int64_t> logit_rows;  // indices into the plan's
  };
  std::vector<Group> groups_;
  std::vector<std::vector<LowRankRows>> products_;  // empty: no adapters in this step
};

}  // namespace inhouse::engine
