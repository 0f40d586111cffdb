#include "engine/comm/communicator.h"

namespace inhouse::engine {

void SingleProcess::AllReduceSum(std::span<float> /*values*/) {}  // the sum of one

}  // namespace inhouse::engine
