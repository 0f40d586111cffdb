// A PEFT LoRA adapter as it lies on disk: adapter_config.json and adapter_model.safetensors.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/peft_config.h"
#include "engine/formats/tensor_table.h"

namespace inhouse::engine {

// What an adapter adds to one linear module, y += scale * (B (A x) + b_bias), and the bias that it
// puts in the place of the module's own.
struct PeftModule {
  std::string name;  // in the base model: "model.layers.0.self_attn.q_proj"
  int64_t rank = 0;  // 0: only `bias`
  double scale = 0;
  const StoredTensor* a = nullptr;       // [rank, in]
  const StoredTensor* b = nullptr;       // [out, rank]
  const StoredTensor* b_bias = nullptr;  // [out] or null
  const StoredTensor* bias = nullptr;    // [out] or null
};

// A copy of a module's weights in the base model, which PEFT puts beside adapters of lm_head and of
// embeddings.
struct PeftCopy {
  std::string module;
  const StoredTensor* tensor = nullptr;
};

// Immutable once opened; any thread may read. Knows nothing of the base model: whether its modules
// have these names and shapes is for engine/models to check.
class PeftAdapter {
 public:
  // InvalidArgument or NotFound that names file, field or tensor, and what was expected: for a
  // variant that is not supported, a file that is cut short, a tensor whose name means nothing,
  // whose shape is not what the config says, or whose other half is missing.
  static absl::StatusOr<std::unique_ptr<PeftAdapter>> Open(const std::string& directory);

  const std::string& path() const { return path_; }  // the directory
  const std::string& weights_path() const { return weights_path_; }
  const PeftConfig& config() const { return config_; }
  const std::vector<PeftModule>& modules() const {
    return modules_;
  }  // in the order of their names
  const std::vector<PeftCopy>& copies() const { return copies_; }
  int64_t rank_max() const;  // of its modules

 private:
  PeftAdapter() = default;
  absl::Status CollectModules();

  std::string path_;
  std::string weights_path_;
  PeftConfig config_;
  TensorTable tensors_;
  std::vector<PeftModule> modules_;
  std::vector<PeftCopy> copies_;
};

}  // namespace inhouse::engine
