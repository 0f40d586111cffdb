#include "engine/ops/step_profile.h"

#include <numeric>

namespace inhouse::engine {
namespace {

constexpr std::array<std::string_view, kOpClasses> kNames = {
    "embed",   "norm",       "qkv",  "rope", "attention", "o",
    "gate_up", "activation", "down", "add",  "head",      "other"};

}  // namespace

std::string_view Name(OpClass op) { return kNames[static_cast<size_t>(op)]; }

double StepProfile::total() const { return std::accumulate(seconds.begin(), seconds.end(), 0.0); }

StepProfile StepProfile::Since(const StepProfile& earlier) const {
  StepProfile out = *this;
  out.steps -= earlier.steps;
  out.rows -= earlier.rows;
  for (size_t i = 0; i < kOpClasses; ++i) out.seconds[i] -= earlier.seconds[i];
  return out;
}

}  // namespace inhouse::engine
