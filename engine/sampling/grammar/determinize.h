// Subset construction, and the intersection and difference of two deterministic automata.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/automaton.h"

namespace inhouse::engine {

struct DfaState {
  bool accepts = false;
  std::vector<ByteEdge> bytes = {};  // sorted, disjoint
  std::vector<CallEdge> calls = {};
  std::vector<TokenEdge> tokens = {};
};
using Dfa = std::vector<DfaState>;  // starts at 0

// What is left of the limits while the rules of one grammar are made deterministic.
struct DfaBudget {
  size_t states = 0;
  size_t work = 0;

  absl::Status Take(size_t new_states, size_t new_work);
};

// A call of a nullable rule may also be passed over; then that rule never ends without a byte.
absl::StatusOr<Dfa> Determinize(const RuleDraft& draft, const std::vector<bool>& nullable,
                                DfaBudget* budget);

// Accepts what `a` accepts and `b` accepts (both) or does not accept. Neither may call a rule.
absl::StatusOr<Dfa> Combine(const Dfa& a, const Dfa& b, bool both, DfaBudget* budget);

}  // namespace inhouse::engine
