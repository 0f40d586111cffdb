// adapter_config.json of a PEFT LoRA adapter: which modules it changes, and how strongly.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/config_json.h"
#include "engine/formats/name_patterns.h"

namespace inhouse::engine {

inline constexpr int64_t kAdapterRankMax = 4096;

// The rules are those of PEFT 0.21 (tuners/lora/config.py, tuners/tuners_utils.py, utils/other.py).
// Immutable; any thread may ask.
class PeftConfig {
 public:
  // Reads and checks every field that changes what an adapter computes; what we cannot compute is
  // refused by its name. Errors name file, field, value and expectation.
  static absl::StatusOr<PeftConfig> Load(const std::string& path);
  static absl::StatusOr<PeftConfig> Parse(const ConfigJson& config);

  const std::string& path() const { return path_; }
  const std::string& base_model() const { return base_model_; }  // as trained on; may be empty

  // Whether the adapter changes the linear module of this name ("model.layers.0.mlp.up_proj").
  bool Targets(std::string_view module) const;

  struct Strength {
    int64_t rank = 0;
    double scale = 0;  // of B A
  };
  Strength StrengthOf(std::string_view module) const;

  bool trains_biases() const { return trains_biases_; }  // `bias` is not none

 private:
  // One entry of rank_pattern or alpha_pattern.
  struct Override {
    NamePatterns pattern;
    double value = 0;
  };

  absl::Status ReadTargets(const ConfigJson& config);
  absl::Status ReadLayers(const ConfigJson& config);
  absl::StatusOr<std::vector<Override>> ReadOverrides(const ConfigJson& config,
                                                      std::string_view key, double min,
                                                      double max) const;
  bool InLayers(std::string_view module) const;

  std::string path_;
  std::string base_model_;
  int64_t rank_ = 8;
  double alpha_ = 8;
  bool root_of_rank_ = false;  // use_rslora
  bool trains_biases_ = false;
  bool all_linear_ = false;  // all linear modules but the output embedding
  // One expression, or names of which a module's own ends in one.
  std::optional<NamePatterns> target_expression_;
  std::vector<std::string> target_names_;
  std::optional<NamePatterns> excluded_expression_;
  std::vector<std::string> excluded_names_;
  std::vector<int64_t> layers_;  // empty: all
  std::vector<NamePatterns> layers_patterns_;
  std::vector<Override> ranks_;
  std::vector<Override> alphas_;
};

}  // namespace inhouse::engine
