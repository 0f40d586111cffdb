// Final hidden states, row by row -> one vector of length 1.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/engine.h"
#include "engine/scheduler/scheduler.h"

namespace inhouse::engine {

// Sums the rows of one prompt in their order, so the result does not depend on how the prompt was
// cut into chunks. Rows that come again, after a preemption, have the same bytes and are passed
// over. Used by the engine thread only.
class Pooler {
 public:
  Pooler(Pooling pooling, int64_t rows) : pooling_(pooling), rows_(rows) {}

  HiddenRows wanted() const {
    return pooling_ == Pooling::kMean ? HiddenRows::kAll : HiddenRows::kLast;
  }
  // The state of the token at `position`.
  void Add(int64_t position, std::span<const float> row);
  // After the last row: the vector, of length 1 (zeros stay zeros).
  std::vector<float> Finish();

 private:
  const Pooling pooling_;
  const int64_t rows_;
  int64_t next_ = 0;         // position of the first row that was not added
  std::vector<double> sum_;  // float64: a mean of many rows must not lose the small ones
};

}  // namespace inhouse::engine
