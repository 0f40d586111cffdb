// Logits -> token.
#pragma once

#include <cstdint>
#include <span>
#include <unordered_map>
#include <utility>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/sampling/sampling_options.h"

namespace inhouse::engine {

// Chooses the tokens of one sequence. In order: logit bias, repetition, presence and frequency
// penalty, temperature, min-p, top-k, top-p (of what top-k left), one draw. The n-th draw depends
// on the seed and n alone. Used by one thread at a time.
class Sampler {
 public:
  // `options.seed` must be set. Kernels must outlive the sampler.
  Sampler(SamplingOptions options, std::span<const int32_t> prompt,
          const ElementwiseKernels& kernels);

  // Never chooses a token of `banned` (end tokens before min_tokens), unless nothing else is
  // possible. With `allowed` (bit i: token i may come; at least one may) no other token is chosen.
  int32_t Sample(std::span<const float> logits, std::span<const int32_t> banned = {},
                 std::span<const uint64_t> allowed = {});

  // Tells that `token` was added to the answer.
  void Accept(int32_t token);

 private:
  struct Candidate {
    float logit;
    int32_t id;
  };

  bool Penalises() const;
  void Penalise();
  void KeepOnly(std::span<const uint64_t> allowed);
  int32_t Draw();
  int32_t DrawOfAll(double u);
  int32_t DrawOfBest(double u) const;
  std::vector<Candidate> AtLeast(float floor) const;
  std::vector<Candidate> SelectTop(float max) const;
  double Uniform() const;

  SamplingOptions options_;
  const ElementwiseKernels& kernels_;
  std::unordered_map<int32_t, int64_t> counts_;  // in the answer; 0 = only in the prompt
  uint64_t drawn_ = 0;
  std::vector<float> logits_;   // working copy
  std::vector<float> weights_;  // of the nucleus
};

// log softmax of one row: the entry of `token` and the `top` most likely ones (best first, lower id
// first among equals).
TokenLogprob ComputeLogprob(std::span<const float> logits, int32_t token, int top,
                            const ElementwiseKernels& kernels);

}  // namespace inhouse::engine
