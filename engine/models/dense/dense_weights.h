// The weights of the dense family, bound to a checkpoint's tensors by either naming (Hugging Face,
// GGUF).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/models/dense/dense_config.h"
#include "engine/models/model.h"
#include "engine/ops/linear.h"

namespace inhouse::engine {

struct DenseLayer {
  std::vector<float> attention_norm;  // [hidden]
  Linear qkv;                         // hidden -> (heads + 2 kv_heads) * head_dim
  std::vector<float> q_norm;          // [head_dim] or empty
  std::vector<float> k_norm;
  Linear o;                     // heads * head_dim -> hidden
  std::vector<float> mlp_norm;  // [hidden]
  Linear gate_up;               // hidden -> 2 * intermediate
  Linear down;                  // intermediate -> hidden
};

struct DenseWeights {
  const StoredTensor* embedding = nullptr;  // [vocab, hidden], read from the file row by row
  std::vector<DenseLayer> layers;
  std::vector<float> final_norm;
  Linear head;  // hidden -> vocab
  // Whether a matrix is stored in 32- or 16-bit IEEE floats, which promise more than BF16 does
  // (decides the KV type).
  bool exact_floats = false;

  // All products, in the order in which a step uses them.
  std::vector<Linear*> Linears();
  std::vector<const Linear*> Linears() const;
};

// Checks every shape against the config. May complete `config` (frequency divisors, tying).
absl::StatusOr<DenseWeights> BindDenseWeights(const Checkpoint& checkpoint,
                                              const BindOptions& options, DenseConfig& config);

}  // namespace inhouse::engine
