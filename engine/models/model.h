// An architecture with its weights: plans its memory, packs its weights, computes steps.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/step_plan.h"
#include "engine/ops/op_context.h"

namespace inhouse::engine {

// What can be said of a model without loading it.
struct ModelFacts {
  std::string architecture;
  int64_t layers = 0;
  int64_t hidden_size = 0;
  int64_t vocab_size = 0;
  int64_t context_tokens = 0;  // as trained
  int64_t parameters_total = 0;
  int64_t parameters_active = 0;  // used for one token
  int64_t weight_bytes = 0;       // in memory, packed
  int64_t page_bytes = 0;         // of kPageTokens tokens of one sequence
  DType kv = DType::kF32;         // of the pages
  int64_t product_ops = 0;        // multiplications and additions of one token's matrix products
  ActivationLayout arithmetic = ActivationLayout::kF32;  // of most of them
};

// Owned by the runtime; Load and the step functions are called from the engine thread (Forward from
// the whole team).
class Model {
 public:
  // Binds the checkpoint's tensors for this kernel level and checks every shape; allocates nothing
  // large. The checkpoint must outlive the model. Errors name file, tensor or field, and what was
  // expected. Without `kv` the model chooses the type of its pages (docs/decisions/0010).
  static absl::StatusOr<std::unique_ptr<Model>> Bind(const Checkpoint& checkpoint,
                                                     const KernelTable& kernels,
                                                     std::optional<DType> kv = std::nullopt);
  virtual ~Model() = default;

  virtual const ModelFacts& facts() const = 0;
  // Bytes of buffers and scratch that Load will allocate for steps up to these limits with this
  // many threads.
  virtual int64_t ScratchBytes(const StepLimits& limits, int threads) const = 0;

  // Packs the weights into memory and allocates the buffers. `progress` gets packed bytes done and
  // in all; called from the calling thread.
  virtual void Load(base::ThreadTeam& team, const StepLimits& limits,
                    const std::function<void(int64_t, int64_t)>& progress) = 0;

  // Computes a step within the limits: writes the new keys and values into the pages and fills
  // logits().
  virtual void Forward(base::ThreadTeam& team, Communicator& comm, const StepPlan& plan) = 0;

  // After Forward: [vocab_size] floats for plan.logit_rows[index].
  virtual const float* logits(int64_t index) const = 0;
};

}  // namespace inhouse::engine
