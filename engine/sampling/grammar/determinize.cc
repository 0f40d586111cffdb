#include "engine/sampling/grammar/determinize.h"

#include <algorithm>
#include <array>
#include <functional>
#include <map>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Subset = std::vector<NodeId>;  // sorted

struct SubsetHash {
  size_t operator()(const Subset& subset) const {
    const auto* bytes = reinterpret_cast<const char*>(subset.data());
    return std::hash<std::string_view>()({bytes, subset.size() * sizeof(NodeId)});
  }
};

class Subsets {
 public:
  Subsets(const RuleDraft& draft, const std::vector<bool>& nullable, DfaBudget* budget)
      : draft_(draft), nullable_(nullable), budget_(budget), seen_(draft.nodes.size()) {}

  absl::StatusOr<Dfa> Run() {
    INHOUSE_RETURN_IF_ERROR(Intern({GrammarBuilder::kStart}).status());
    for (size_t i = 0; i < subsets_.size(); ++i) {
      INHOUSE_RETURN_IF_ERROR(Expand(static_cast<StateId>(i), *subsets_[i]));
    }
    return std::move(dfa_);
  }

 private:
  absl::StatusOr<StateId> Intern(Subset nodes) {
    Close(&nodes);
    INHOUSE_RETURN_IF_ERROR(budget_->Take(0, nodes.size()));
    const auto [found, is_new] = ids_.emplace(std::move(nodes), static_cast<StateId>(dfa_.size()));
    if (is_new) {
      INHOUSE_RETURN_IF_ERROR(budget_->Take(1, 0));
      subsets_.push_back(&found->first);
      dfa_.emplace_back().accepts =
          std::binary_search(found->first.begin(), found->first.end(), GrammarBuilder::kEnd);
    }
    return found->second;
  }

  // Adds what is reached without a byte. Nodes whose only edges are empty are kept out, except the
  // end: two subsets that differ in them alone are one state.
  void Close(Subset* nodes) {
    ++round_;
    todo_.clear();
    const auto visit = [this](NodeId node) {
      if (std::exchange(seen_[node], round_) != round_) todo_.push_back(node);
    };
    for (const NodeId node : *nodes) visit(node);
    nodes->clear();
    for (size_t i = 0; i < todo_.size(); ++i) {
      const NodeId node = todo_[i];
      bool consumes = node == GrammarBuilder::kEnd;
      for (const NfaEdge& edge : draft_.nodes[node]) {
        if (edge.kind == NfaEdge::Kind::kEmpty) {
          visit(edge.target);
        } else {
          consumes = true;
          if (edge.kind == NfaEdge::Kind::kRule && nullable_[edge.label]) visit(edge.target);
        }
      }
      if (consumes) nodes->push_back(node);
    }
    if (!std::is_sorted(nodes->begin(), nodes->end())) std::sort(nodes->begin(), nodes->end());
  }

  absl::Status Expand(StateId id, const Subset& subset) {
    std::map<RuleId, Subset> calls;
    std::map<uint32_t, Subset> tokens;
    std::vector<const NfaEdge*> bytes;
    for (const NodeId node : subset) {
      for (const NfaEdge& edge : draft_.nodes[node]) {
        if (edge.kind == NfaEdge::Kind::kBytes) bytes.push_back(&edge);
        if (edge.kind == NfaEdge::Kind::kRule) calls[edge.label].push_back(edge.target);
        if (edge.kind == NfaEdge::Kind::kToken) tokens[edge.label].push_back(edge.target);
      }
    }
    INHOUSE_RETURN_IF_ERROR(ExpandBytes(id, bytes));
    for (auto& [rule, targets] : calls) {
      INHOUSE_ASSIGN_OR_RETURN(const StateId target, Intern(std::move(targets)));
      dfa_[id].calls.push_back({rule, target});
    }
    for (auto& [token, targets] : tokens) {
      INHOUSE_ASSIGN_OR_RETURN(const StateId target, Intern(std::move(targets)));
      dfa_[id].tokens.push_back({static_cast<int32_t>(token), target});
    }
    return absl::OkStatus();
  }

  absl::Status ExpandBytes(StateId id, const std::vector<const NfaEdge*>& edges) {
    if (edges.empty()) return absl::OkStatus();
    std::array<uint16_t, 257> pieces{};  // 1: some range begins here, or has ended before
    for (const NfaEdge* edge : edges) pieces[edge->low] = pieces[edge->high + 1U] = 1;
    std::vector<int> cuts;
    for (size_t byte = 0; byte < pieces.size(); ++byte) {
      const bool cut = pieces[byte] != 0;
      pieces[byte] = static_cast<uint16_t>(cuts.size());  // the piece that begins at the byte
      if (cut) cuts.push_back(static_cast<int>(byte));
    }
    std::vector<Subset> targets(cuts.size() - 1);
    for (const NfaEdge* edge : edges) {
      const size_t end = pieces[edge->high + 1U];
      for (size_t i = pieces[edge->low]; i < end; ++i) targets[i].push_back(edge->target);
    }
    for (size_t i = 0; i < targets.size(); ++i) {
      if (targets[i].empty()) continue;
      INHOUSE_RETURN_IF_ERROR(budget_->Take(0, targets[i].size()));
      INHOUSE_ASSIGN_OR_RETURN(const StateId target, Intern(std::move(targets[i])));
      const auto low = static_cast<uint8_t>(cuts[i]);
      const auto high = static_cast<uint8_t>(cuts[i + 1] - 1);
      std::vector<ByteEdge>& out = dfa_[id].bytes;
      if (!out.empty() && out.back().target == target && out.back().high + 1 == low) {
        out.back().high = high;
      } else {
        out.push_back({low, high, target});
      }
    }
    return absl::OkStatus();
  }

  const RuleDraft& draft_;
  const std::vector<bool>& nullable_;
  DfaBudget* budget_;
  std::vector<uint64_t> seen_;  // the round of Close in which a node was met last
  uint64_t round_ = 0;
  Subset todo_;
  std::unordered_map<Subset, StateId, SubsetHash> ids_;  // its keys stay where they are
  std::vector<const Subset*> subsets_;
  Dfa dfa_;
};

int64_t Next(const DfaState& state, uint8_t byte) {
  for (const ByteEdge& edge : state.bytes) {
    if (byte <= edge.high) return byte >= edge.low ? static_cast<int64_t>(edge.target) : -1;
  }
  return -1;
}

}  // namespace

absl::Status DfaBudget::Take(size_t new_states, size_t new_work) {
  if (new_states <= states && new_work <= work) {
    states -= new_states;
    work -= new_work;
    return absl::OkStatus();
  }
  return base::InvalidInput({.field = "grammar",
                             .expected = "a smaller one: its automaton exceeds the limits",
                             .hint = "Use smaller bounds of repetition, fewer alternatives or "
                                     "fewer optional properties."});
}

absl::StatusOr<Dfa> Determinize(const RuleDraft& draft, const std::vector<bool>& nullable,
                                DfaBudget* budget) {
  return Subsets(draft, nullable, budget).Run();
}

absl::StatusOr<Dfa> Combine(const Dfa& a, const Dfa& b, bool both, DfaBudget* budget) {
  Dfa out;
  std::map<std::pair<int64_t, int64_t>, StateId> ids;
  std::vector<std::pair<int64_t, int64_t>> pairs;
  const auto intern = [&](int64_t x, int64_t y) -> absl::StatusOr<StateId> {
    const auto [found, is_new] = ids.emplace(std::pair(x, y), static_cast<StateId>(out.size()));
    if (is_new) {
      INHOUSE_RETURN_IF_ERROR(budget->Take(1, 1));
      pairs.emplace_back(x, y);
      const bool in_b = y >= 0 && b[static_cast<size_t>(y)].accepts;
      out.emplace_back().accepts = a[static_cast<size_t>(x)].accepts && in_b == both;
    }
    return found->second;
  };
  INHOUSE_RETURN_IF_ERROR(intern(0, 0).status());
  for (size_t i = 0; i < pairs.size(); ++i) {
    const auto [x, y] = pairs[i];
    for (int byte = 0; byte < 256; ++byte) {
      const auto c = static_cast<uint8_t>(byte);
      const int64_t next_x = Next(a[static_cast<size_t>(x)], c);
      if (next_x < 0) continue;
      const int64_t next_y = y < 0 ? -1 : Next(b[static_cast<size_t>(y)], c);
      if (both && next_y < 0) continue;
      INHOUSE_ASSIGN_OR_RETURN(const StateId target, intern(next_x, next_y));
      std::vector<ByteEdge>& edges = out[i].bytes;
      if (!edges.empty() && edges.back().target == target && edges.back().high + 1 == byte) {
        edges.back().high = c;
      } else {
        edges.push_back({c, c, target});
      }
    }
    INHOUSE_RETURN_IF_ERROR(budget->Take(0, 16));
  }
  return out;
}

}  // namespace inhouse::engine
