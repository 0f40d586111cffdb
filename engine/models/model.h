// An architecture with its weights: plans its memory, packs its weights, computes steps.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/kernels/probe/probe.h"
#include "engine/models/adapter.h"
#include "engine/models/step_plan.h"
#include "engine/ops/linear.h"
#include "engine/ops/op_context.h"
#include "engine/ops/weight_memory.h"

namespace inhouse::engine {

// The matrices of products whose rows have one type: that of their tensors, or the one into which
// codes and scales are assembled.
struct MatrixTypeFacts {
  int64_t matrices = 0;
  int64_t parameters = 0;
  int64_t stored_bytes = 0;  // of all tensors that they are made of
};

// One kind of matrix product, over all layers.
struct ProductFacts {
  OpClass op = OpClass::kOther;
  int64_t weight_bytes = 0;      // in memory, packed
  int64_t ops = 0;               // multiplications and additions for one row
  DotUnit unit = DotUnit::kF32;  // that computes most of them
};

// What can be said of a model without loading it.
struct ModelFacts {
  std::string architecture;
  int64_t layers = 0;
  int64_t hidden_size = 0;
  int64_t vocab_size = 0;
  int64_t context_tokens = 0;  // as trained
  int64_t parameters_total = 0;
  std::map<DType, MatrixTypeFacts> matrix_types;
  int64_t parameters_active = 0;       // used for one token
  int64_t weight_bytes = 0;            // in memory, packed
  int64_t page_bytes = 0;              // of kPageTokens tokens of one sequence
  DType kv = DType::kF32;              // of the pages
  std::vector<ProductFacts> products;  // in the order in which a step runs them; the head last
};

// How a model computes, chosen before its weights are bound.
struct BindOptions {
  const KernelTable* kernels = nullptr;
  // Of the activations of integer products. Those of the head always
  // have 16 bits (docs/decisions/0008).
  ActivationBits activations = ActivationBits::k16;
  std::optional<DType> kv = {};  // of the pages; none: as the weights ask (docs/decisions/0010)
};

// Owned by the runtime; Load and the step functions are called from the engine thread (Forward from
// the whole team).
class Model {
 public:
  // Binds the checkpoint's tensors for this kernel level and checks every shape; allocates nothing
  // large. The checkpoint must outlive the model. Errors name file, tensor or field, and what was
  // expected.
  static absl::StatusOr<std::unique_ptr<Model>> Bind(const Checkpoint& checkpoint,
                                                     const BindOptions& options);
  virtual ~Model() = default;

  virtual const ModelFacts& facts() const = 0;
  // Bytes of buffers and scratch that Load will allocate for steps up to these limits with this
  // many threads.
  virtual int64_t ScratchBytes(const StepLimits& limits, int threads) const = 0;

  // The packed weights: packed or mapped before the first step.
  virtual WeightMemory& weights() = 0;

  // Allocates the buffers.
  virtual void Allocate(const base::ThreadTeam& team, const StepLimits& limits) = 0;

  // Computes a step within the limits: writes the new keys and values into the pages and fills
  // logits().
  virtual void Forward(base::ThreadTeam& team, Communicator& comm, const StepPlan& plan) = 0;

  // The products of a step, in their order. Their parts tell the stored tensors until Load.
  virtual std::vector<const Linear*> linears() const = 0;
  // What an adapter may change, by the names that PEFT gives it.
  virtual std::vector<AdapterTarget> adapter_targets() const = 0;
  // Whether its results are as exact as float32's, so that an adapter's have to be.
  virtual bool exact() const = 0;
  // From now on `observer` sees the inputs of all products; null = nobody. It must outlive the
  // steps.
  virtual void set_observer(ProductObserver* observer) = 0;

  // After Forward: [vocab_size] floats for plan.logit_rows[index].
  virtual const float* logits(int64_t index) const = 0;
  // After Forward: [hidden_size] floats for plan.hidden_rows[index], behind the final norm.
  virtual const float* hidden(int64_t index) const = 0;

  // Forward adds to `profile` from now on; null: no longer.
  void set_profile(StepProfile* profile) { profile_ = profile; }

 protected:
  StepProfile* profile_ = nullptr;
};

}  // namespace inhouse::engine
