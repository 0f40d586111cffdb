// What one forward pass computes: made by the scheduler, executed by a model.
#pragma once

#include <cstdint>
#include <vector>

#include "engine/ops/attention.h"

namespace inhouse::engine {

class ModelAdapter;

// The tokens of all sequences of a step after each other: prefill chunks and single decode tokens
// alike.
struct StepPlan {
  std::vector<int32_t> tokens;           // [rows]
  std::vector<SequenceSlice> sequences;  // in the order of their rows; pages already allocated
  // The adapter of each sequence, null: none. Empty: no sequence has one.
  std::vector<const ModelAdapter*> adapters = {};
  std::vector<int64_t> logit_rows;   // rows whose next-token logits are wanted, ascending
  std::vector<int64_t> hidden_rows;  // rows whose final hidden states are wanted; none of them is a
                                     // row of logits

  int64_t rows() const { return static_cast<int64_t>(tokens.size()); }
};

// The largest step that buffers are sized for.
struct StepLimits {
  int64_t rows = 0;
  int64_t logit_rows = 0;
  int64_t sequences = 0;
  int64_t context_tokens = 0;  // of one sequence
  int64_t adapter_rank = 0;    // of a module; 0: no adapters
};

}  // namespace inhouse::engine
