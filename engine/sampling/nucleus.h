// Top-p: the nucleus of a distribution (Holtzman et al. 2020).
#pragma once

#include <span>

namespace inhouse::engine {

// The nucleus is the smallest set of best tokens whose weights reach `share` of `total` (the sum of
// the weights), at least one token (of equals the lower ids). Sets all other weights to zero and
// returns the sum of what is left, in the order of the ids. weights[i] = exp(logits[i] - max), all
// finite; -inf never belongs to it unless nothing else does; 0 <= share < 1. Time: one fast pass
// over the vocabulary and three over the tokens that may belong to it, whatever the shape of the
// distribution.
double KeepNucleus(std::span<const float> logits, float max, double share, double total,
                   std::span<float> weights);

}  // namespace inhouse::engine
