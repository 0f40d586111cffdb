// Rotary position embedding: frequencies with their scaling rules, and the rotation of the step's
// heads.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/op_context.h"

namespace inhouse::engine {

enum class RopeScaling : uint8_t { kNone, kLinear, kLlama3, kYarn };

// As config.json and GGUF describe it. Formulas: transformers, modeling_rope_utils.py.
struct RopeConfig {
  double theta = 10000.0;
  int dim = 0;  // rotated dimensions of a head, even
  RopeScaling scaling = RopeScaling::kNone;
  double factor = 1.0;
  double original_context = 0;    // llama3, yarn
  double low_freq_factor = 1.0;   // llama3
  double high_freq_factor = 4.0;  // llama3
  double beta_fast = 32.0;        // yarn
  double beta_slow = 1.0;         // yarn
  bool truncate = true;           // yarn: round the correction range to whole dimensions
  double attention_factor = 1.0;  // yarn: cos and sin are multiplied by it
  std::vector<float> frequency_divisors =
      {};  // GGUF rope_freqs.weight: frequency i is divided by it; empty = none
};

// dim/2 frequencies in radians per position, in double.
std::vector<double> RopeFrequencies(const RopeConfig& config);

// Cosines and sines of the step's positions: [rows][dim], cosines first. Filled once per step, used
// by every layer.
class RopeTable {
 public:
  RopeTable(const RopeConfig& config, int64_t rows_max);

  int dim() const { return dim_; }
  const float* row(int64_t index) const { return values_.data() + index * dim_; }
  // Collective, ends with a barrier. positions[i] is the position of row i.
  void Fill(const base::TeamMember& member, std::span<const int64_t> positions);

 private:
  int dim_;
  double attention_factor_;
  std::vector<double> frequencies_;
  std::vector<float> values_;
};

// Rotates `heads` heads of `head_dim` in each row of x [rows][ld] (half-split pairs over the first
// dim() of a head). Without a barrier: the member rotates its Share of the rows.
void RotateHeads(const OpContext& context, const RopeTable& table, float* x, int64_t ld,
                 int64_t rows, int heads, int head_dim);

}  // namespace inhouse::engine
