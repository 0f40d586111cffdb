// How the next token is chosen, and what is told about the choice.
#pragma once

#include <cstdint>
#include <optional>
#include <utility>
#include <vector>

namespace inhouse::engine {

struct SamplingOptions {
  float temperature = 1.0F;  // 0 = greedy
  int top_k = 0;             // 0 = off
  float top_p = 1.0F;
  float min_p = 0.0F;
  float repetition_penalty = 1.0F;  // > 1 discourages tokens of prompt and answer
  float presence_penalty = 0.0F;    // of tokens in the answer
  float frequency_penalty = 0.0F;
  std::vector<std::pair<int32_t, float>> logit_bias = {};  // token id, added to its logit
  std::optional<uint64_t> seed = {};  // same seed, same bytes; none: drawn for the request
};

struct TokenLogprob {
  int32_t id = -1;
  float logprob = 0;  // natural logarithm, before temperature, penalties and bias; -inf possible
  std::vector<std::pair<int32_t, float>> top = {};  // the most likely tokens, best first
};

}  // namespace inhouse::engine
