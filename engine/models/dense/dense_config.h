// Hyper-parameters of the dense decoder family (llama, qwen2, qwen3) from config.json or GGUF.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/ops/rope.h"

namespace inhouse::engine {

struct DenseConfig {
  std::string architecture;  // llama, qwen2, qwen3
  int64_t hidden_size = 0;
  int64_t intermediate_size = 0;
  int64_t layers = 0;
  int64_t heads = 0;
  int64_t kv_heads = 0;
  int64_t head_dim = 0;
  int64_t vocab_size = 0;
  int64_t context_tokens = 0;
  float rms_norm_eps = 1e-6F;
  RopeConfig rope;
  bool qkv_bias = false;
  bool o_bias = false;
  bool mlp_bias = false;
  bool qk_norm = false;          // RMSNorm of each query and key head before the rotation
  bool tied_embeddings = false;  // the head is the embedding table
  bool permuted_qk = false;  // GGUF llama: rows of q and k are stored for adjacent-pair rotation
};

// Reads and checks every field; errors name file, field, value and what was expected.
absl::StatusOr<DenseConfig> ReadDenseConfig(const Checkpoint& checkpoint,
                                            const std::string& architecture);

// rope_parameters (transformers 5) or rope_scaling + rope_theta. `max_position` is the default of
// the original context.
absl::StatusOr<RopeConfig> ReadRopeConfig(const ConfigJson& config, int head_dim,
                                          int64_t max_position);

}  // namespace inhouse::engine
