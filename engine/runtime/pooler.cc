#include "engine/runtime/pooler.h"

#include <cmath>

namespace inhouse::engine {

void Pooler::Add(int64_t position, std::span<const float> row) {
  if (pooling_ == Pooling::kLast) {
    if (position == rows_ - 1) sum_.assign(row.begin(), row.end());
    return;
  }
  if (position != next_) return;
  ++next_;
  sum_.resize(row.size());
  for (size_t i = 0; i < row.size(); ++i) sum_[i] += static_cast<double>(row[i]);
}

// The mean and the sum point the same way: dividing by the length is all that is left to do.
std::vector<float> Pooler::Finish() {
  double squares = 0;
  for (const double x : sum_) squares += x * x;
  const double scale = squares > 0 ? 1 / std::sqrt(squares) : 0;
  std::vector<float> out;
  out.reserve(sum_.size());
  for (const double x : sum_) out.push_back(static_cast<float>(x * scale));
  return out;
}

}  // namespace inhouse::engine
