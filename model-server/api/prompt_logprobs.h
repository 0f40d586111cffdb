// vLLM's `prompt_logprobs`: how likely the prompt's own tokens were.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace inhouse::model_server {

// One candidate for a place of the prompt.
struct PromptCandidate {
  int32_t id = 0;
  std::string token = {};
  float logprob = 0;
  int64_t rank = 0;  // from 1; 0: not among the alternatives that were asked for
};

// For each place its candidates, the prompt's own token first; none for the first place.
std::string PromptLogprobsJson(const std::vector<std::vector<PromptCandidate>>& places);

}  // namespace inhouse::model_server
