// Attention in plain C++: the judge of the fast levels, and the path of CPUs without one.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/kernels/attention/attention_kernels.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

struct F32 {
  static constexpr DType kDType = DType::kF32;
  using Stored = float;
  static float Load(float stored) { return stored; }
  static float Store(float value) { return value; }
};

struct F16 {
  static constexpr DType kDType = DType::kF16;
  using Stored = uint16_t;
  static float Load(uint16_t stored) { return FromF16(stored); }
  static uint16_t Store(float value) { return ToF16(value); }
};

template <typename Kv>
void Store(const float* key, const float* value, int head_dim, int slot, std::byte* k,
           std::byte* v) {
  auto* keys = reinterpret_cast<typename Kv::Stored*>(k);
  auto* values = reinterpret_cast<typename Kv::Stored*>(v);
  for (int64_t d = 0; d < head_dim; ++d) {
    keys[d * kPageTokens + slot] = Kv::Store(key[d]);
    values[int64_t{slot} * head_dim + d] = Kv::Store(value[d]);
  }
}

// Scores of the visible tokens into `scores`; returns the largest (-inf if there is none).
template <typename Kv>
float Score(const AttentionBlock& block, const float* q, int visible, float* scores) {
  const auto* keys = reinterpret_cast<const typename Kv::Stored*>(block.k);
  double sums[kPageTokens] = {};
  for (int64_t d = 0; d < block.head_dim; ++d) {
    for (int t = 0; t < visible; ++t) {
      sums[t] += double{q[d]} * double{Kv::Load(keys[d * kPageTokens + t])};
    }
  }
  float max = kMinusInfinity;
  for (int t = 0; t < visible; ++t) {
    scores[t] = static_cast<float>(sums[t]);
    max = std::max(max, scores[t]);
  }
  return max;
}

template <typename Kv>
void AddRow(const AttentionBlock& block, int64_t row) {
  const int visible = block.visible[row];
  float* scores = block.scratch + row * kPageTokens;
  const float page_max = Score<Kv>(block, block.q + row * block.ldq, visible, scores);

  AttentionState& state = block.state[row];
  const float new_max = std::max(state.max, page_max);
  // While every score is -inf any finite base serves: the weights are exp(-inf) = 0, not NaN.
  const float base = new_max == kMinusInfinity ? 0.0F : new_max;
  const float correction = std::exp(state.max - base);
  float sum = 0;
  for (int t = 0; t < visible; ++t) {
    scores[t] = std::exp(scores[t] - base);
    sum += scores[t];
  }
  state = {new_max, state.sum * correction + sum};

  const auto* values = reinterpret_cast<const typename Kv::Stored*>(block.v);
  float* out = block.out + row * block.ldout;
  for (int64_t d = 0; d < block.head_dim; ++d) out[d] *= correction;
  for (int64_t t = 0; t < visible; ++t) {
    const auto* value = values + t * block.head_dim;
    for (int64_t d = 0; d < block.head_dim; ++d) out[d] += scores[t] * Kv::Load(value[d]);
  }
}

template <typename Kv>
void AddPage(const AttentionBlock& block) {
  for (int64_t row = 0; row < block.n_queries; ++row) {
    if (block.visible[row] > 0) AddRow<Kv>(block, row);
  }
}

}  // namespace

const AttentionKernel kAttentionF32Ref = {"ref", F32::kDType, Store<F32>, AddPage<F32>};
const AttentionKernel kAttentionF16Ref = {"ref", F16::kDType, Store<F16>, AddPage<F16>};

}  // namespace inhouse::engine
