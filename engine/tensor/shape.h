// Shapes of stored tensors: outermost dimension first, as in safetensors and PyTorch (GGUF's order
// is reversed on reading).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace inhouse::engine {

using Shape = std::vector<int64_t>;

// "[4096, 11008]"
std::string ToString(const Shape& shape);

// The product of the dimensions; 1 for a scalar. Dimensions must not overflow int64 together (the
// readers check that).
int64_t ElementCount(const Shape& shape);

}  // namespace inhouse::engine
