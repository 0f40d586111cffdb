// What an adapter may change in a dense model.
#pragma once

#include <vector>

#include "engine/models/adapter.h"
#include "engine/models/dense/dense_config.h"
#include "engine/models/dense/dense_weights.h"

namespace inhouse::engine {

// The linear modules of the family by Hugging Face's names, also for a GGUF file; the products are
// counted as in DenseWeights::Linears().
std::vector<AdapterTarget> DenseAdapterTargets(const Checkpoint& checkpoint,
                                               const DenseConfig& config,
                                               const DenseWeights& weights);

}  // namespace inhouse::engine
