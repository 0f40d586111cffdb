#include "engine/models/dense/adapter_targets.h"

#include <cstdint>
#include <span>
#include <string>
#include <utility>

namespace inhouse::engine {

std::vector<AdapterTarget> DenseAdapterTargets(const Checkpoint& checkpoint,
                                               const DenseConfig& config,
                                               const DenseWeights& weights) {
  std::vector<AdapterTarget> targets;
  const auto add = [&targets](std::string module, size_t index, const Linear& linear, int64_t begin,
                              int64_t rows) {
    std::span<const float> bias = linear.bias();
    if (!bias.empty()) bias = bias.subspan(static_cast<size_t>(begin), static_cast<size_t>(rows));
    targets.push_back({.module = std::move(module),
                       .linear = index,
                       .in = linear.in_features(),
                       .out_begin = begin,
                       .out_rows = rows,
                       .bias = bias});
  };
  const int64_t d = config.hidden_size;
  const int64_t q = config.heads * config.head_dim;
  const int64_t kv = config.kv_heads * config.head_dim;
  const int64_t inner = config.intermediate_size;
  for (size_t i = 0; i < weights.layers.size(); ++i) {
    const DenseLayer& layer = weights.layers[i];
    const std::string prefix = "model.layers." + std::to_string(i) + ".";
    add(prefix + "self_attn.q_proj", 4 * i, layer.qkv, 0, q);
    add(prefix + "self_attn.k_proj", 4 * i, layer.qkv, q, kv);
    add(prefix + "self_attn.v_proj", 4 * i, layer.qkv, q + kv, kv);
    add(prefix + "self_attn.o_proj", 4 * i + 1, layer.o, 0, d);
    add(prefix + "mlp.gate_proj", 4 * i + 2, layer.gate_up, 0, inner);
    add(prefix + "mlp.up_proj", 4 * i + 2, layer.gate_up, inner, inner);
    add(prefix + "mlp.down_proj", 4 * i + 3, layer.down, 0, d);
  }
  add("lm_head", 4 * weights.layers.size(), weights.head, 0, config.vocab_size);
  const char* head = config.tied_embeddings ? "model.embed_tokens.weight" : "lm_head.weight";
  targets.back().weight = checkpoint.tensors.Find(head);
  return targets;
}

}  // namespace inhouse::engine
