#include "engine/sampling/grammar/automaton.h"

#include <algorithm>
#include <utility>

#include "base/status.h"
#include "engine/sampling/grammar/determinize.h"

namespace inhouse::engine {

class AutomatonCompiler {
  static constexpr int kPassesMax = 100;

 public:
  AutomatonCompiler(const GrammarBuilder& builder, RuleId root)
      : drafts_(builder.rules()),
        budget_{builder.limits().dfa_states, builder.limits().work},
        nullable_(drafts_.size()),
        reached_(drafts_.size()),
        sizes_(drafts_.size()) {
    out_.root_ = root;
    out_.rules_.resize(drafts_.size());
  }

  absl::StatusOr<Automaton> Run() {
    Reach();
    for (const RuleId id : order_) {
      if (!IsProduct(id)) continue;
      INHOUSE_ASSIGN_OR_RETURN(Dfa dfa, Regular(id, 0));
      nullable_[id] = dfa[0].accepts;
      products_.emplace_back(id, std::move(dfa));
    }
    INHOUSE_RETURN_IF_ERROR(FindNullable());
    for (const RuleId id : order_) INHOUSE_RETURN_IF_ERROR(AddRule(id));
    INHOUSE_RETURN_IF_ERROR(SetNeeds());
    INHOUSE_RETURN_IF_ERROR(SetOrder());
    return std::move(out_);
  }

 private:
  bool IsProduct(RuleId id) const {
    return drafts_[id].kind == RuleDraft::Kind::kBoth ||
           drafts_[id].kind == RuleDraft::Kind::kOnlyFirst;
  }

  template <typename Callback>
  void ForEachCallee(RuleId id, Callback callback) const {
    const RuleDraft& draft = drafts_[id];
    if (draft.kind == RuleDraft::Kind::kCounted) return callback(draft.a);
    for (const auto& edges : draft.nodes) {
      for (const NfaEdge& edge : edges) {
        if (edge.kind == NfaEdge::Kind::kRule) callback(edge.label);
      }
    }
  }

  void Reach() {
    std::vector<RuleId> todo = {out_.root_};
    reached_[out_.root_] = true;
    while (!todo.empty()) {
      const RuleId id = todo.back();
      todo.pop_back();
      order_.push_back(id);
      ForEachCallee(id, [&](RuleId callee) {
        if (!reached_[callee]) todo.push_back(callee);
        reached_[callee] = true;
      });
    }
    // Rules come before what they call: the fixpoints below go backwards and end soon.
    std::sort(order_.begin(), order_.end());
  }

  // The automaton of a rule without calls; products are made of them.
  absl::StatusOr<Dfa> Regular(RuleId id, int depth) {
    const RuleDraft& draft = drafts_[id];
    if (depth > 64) return base::InvalidInput({.field = "grammar", .expected = "less nesting"});
    if (!IsProduct(id)) return Determinize(draft, nullable_, &budget_);
    INHOUSE_ASSIGN_OR_RETURN(const Dfa a, Regular(draft.a, depth + 1));
    INHOUSE_ASSIGN_OR_RETURN(const Dfa b, Regular(draft.b, depth + 1));
    return Combine(a, b, draft.kind == RuleDraft::Kind::kBoth, &budget_);
  }

  bool EndsWithoutByte(RuleId id) const {
    const RuleDraft& draft = drafts_[id];
    if (draft.kind == RuleDraft::Kind::kCounted) return draft.min == 0 || nullable_[draft.a];
    std::vector<bool> seen(draft.nodes.size());
    std::vector<NodeId> todo = {GrammarBuilder::kStart};
    while (!todo.empty()) {
      const NodeId node = todo.back();
      todo.pop_back();
      if (node == GrammarBuilder::kEnd) return true;
      if (seen[node]) continue;
      seen[node] = true;
      for (const NfaEdge& edge : draft.nodes[node]) {
        const bool free = edge.kind == NfaEdge::Kind::kEmpty ||
                          (edge.kind == NfaEdge::Kind::kRule && nullable_[edge.label]);
        if (free) todo.push_back(edge.target);
      }
    }
    return false;
  }

  // Passes go forwards and backwards in turn, so that chains of either direction end soon; only
  // somebody who tries needs more than a few.
  template <typename Pass>
  static absl::Status RepeatUntilStable(Pass pass) {
    for (int i = 0; i < kPassesMax; ++i) {
      if (!pass(i % 2 == 0)) return absl::OkStatus();
    }
    return base::InvalidInput({.field = "grammar", .expected = "simpler dependencies of rules"});
  }

  absl::Status FindNullable() {
    return RepeatUntilStable([this](bool backwards) {
      bool changed = false;
      for (size_t i = 0; i < order_.size(); ++i) {
        const RuleId id = order_[backwards ? order_.size() - 1 - i : i];
        if (IsProduct(id) || nullable_[id] || !EndsWithoutByte(id)) continue;
        nullable_[id] = changed = true;
      }
      return changed;
    });
  }

  absl::Status AddRule(RuleId id) {
    const RuleDraft& draft = drafts_[id];
    Automaton::Rule& rule = out_.rules_[id];
    rule.nullable = nullable_[id];
    if (draft.kind == RuleDraft::Kind::kCounted) {
      rule.counted = rule.calls = true;
      rule.inner = draft.a;
      rule.min = nullable_[draft.a] ? 0 : draft.min;
      rule.max = draft.max;
      return absl::OkStatus();
    }
    Dfa dfa;
    if (IsProduct(id)) {
      const auto found = std::find_if(products_.begin(), products_.end(),
                                      [id](const auto& product) { return product.first == id; });
      dfa = std::move(found->second);
    } else {
      INHOUSE_ASSIGN_OR_RETURN(dfa, Determinize(draft, nullable_, &budget_));
    }
    rule.start = static_cast<StateId>(out_.accepts_.size());
    sizes_[id] = static_cast<uint32_t>(dfa.size());
    for (DfaState& state : dfa) {
      out_.accepts_.push_back(state.accepts);
      for (const ByteEdge& e : state.bytes) {
        out_.bytes_.push_back({e.low, e.high, e.target + rule.start});
      }
      for (const CallEdge& e : state.calls) {
        out_.calls_.push_back({e.rule, e.target + rule.start});
        rule.calls = true;
      }
      for (const TokenEdge& e : state.tokens) {
        out_.tokens_.push_back({e.token, e.target + rule.start});
      }
      out_.byte_begin_.push_back(static_cast<uint32_t>(out_.bytes_.size()));
      out_.call_begin_.push_back(static_cast<uint32_t>(out_.calls_.size()));
      out_.token_begin_.push_back(static_cast<uint32_t>(out_.tokens_.size()));
    }
    return absl::OkStatus();
  }

  uint32_t NeedOf(StateId s) const {
    uint32_t need = out_.accepts_[s] ? 0 : kNeverEnds;
    for (const ByteEdge& e : out_.bytes(s)) need = std::min(need, out_.needs_[e.target]);
    for (const TokenEdge& e : out_.tokens(s)) need = std::min(need, out_.needs_[e.target]);
    for (const CallEdge& e : out_.calls(s)) {
      const uint32_t inside = std::min(out_.rules_[e.rule].need + 1, kNeverEnds);
      need = std::min(need, std::max(inside, out_.needs_[e.target]));
    }
    return need;
  }

  absl::Status SetNeeds() {
    out_.needs_.assign(out_.accepts_.size(), kNeverEnds);
    for (Automaton::Rule& rule : out_.rules_) rule.need = kNeverEnds;
    INHOUSE_RETURN_IF_ERROR(RepeatUntilStable([this](bool backwards) {
      bool changed = false;
      const auto set = [&changed](uint32_t* need, uint32_t value) {
        if (value < *need) changed = true;
        *need = std::min(*need, value);
      };
      for (size_t i = 0; i < order_.size(); ++i) {
        const RuleId id = order_[backwards ? order_.size() - 1 - i : i];
        Automaton::Rule& rule = out_.rules_[id];
        if (rule.counted) {
          const uint32_t inside = std::min(out_.rules_[rule.inner].need + 1, kNeverEnds);
          set(&rule.need, rule.min == 0 ? 0 : inside);
          continue;
        }
        const StateId end = rule.start + sizes_[id];
        for (StateId s = end; s-- > rule.start;) set(&out_.needs_[s], NeedOf(s));
        set(&rule.need, out_.needs_[rule.start]);
      }
      return changed;
    }));
    if (out_.rules_[out_.root_].need < kNeverEnds) return absl::OkStatus();
    return base::InvalidInput({.field = "grammar",
                               .expected = "something that a finite text can satisfy",
                               .hint = "A part contains itself without an end, or asks for "
                                       "what cannot be."});
  }

  // Depth first: a rule gets its number when all that it may begin with have theirs.
  absl::Status SetOrder() {
    enum : uint8_t { kNew, kOpen, kDone };
    std::vector<uint8_t> state(out_.rules_.size(), kNew);
    uint32_t next = static_cast<uint32_t>(out_.rules_.size());
    struct Visit {
      RuleId rule;
      size_t callee;
    };
    std::vector<Visit> stack;
    const auto beginnings = [this](RuleId id) {
      std::vector<RuleId> out;
      const Automaton::Rule& rule = out_.rules_[id];
      if (rule.counted) return std::vector<RuleId>{rule.inner};
      for (const CallEdge& e : out_.calls(rule.start)) out.push_back(e.rule);
      return out;
    };
    for (const RuleId root : order_) {
      if (state[root] == kNew) stack.push_back({root, 0});
      state[root] = std::max<uint8_t>(state[root], kOpen);
      while (!stack.empty()) {
        const RuleId id = stack.back().rule;
        const std::vector<RuleId> callees = beginnings(id);
        if (stack.back().callee == callees.size()) {
          out_.rules_[id].order = --next;
          state[id] = kDone;
          stack.pop_back();
          continue;
        }
        const RuleId callee = callees[stack.back().callee++];
        if (state[callee] == kOpen) {
          return base::InvalidInput({.field = "grammar",
                                     .expected = "no rule that begins with itself",
                                     .hint = "Write left recursion as a repetition."});
        }
        if (state[callee] == kNew) {
          state[callee] = kOpen;
          stack.push_back({callee, 0});
        }
      }
    }
    return absl::OkStatus();
  }

  const std::vector<RuleDraft>& drafts_;
  DfaBudget budget_;
  std::vector<bool> nullable_;
  std::vector<bool> reached_;
  std::vector<uint32_t> sizes_;  // states
  std::vector<RuleId> order_;
  std::vector<std::pair<RuleId, Dfa>> products_;
  Automaton out_;
};

absl::StatusOr<Automaton> Automaton::Compile(const GrammarBuilder& builder, RuleId root) {
  if (!builder.status().ok()) return builder.status();
  return AutomatonCompiler(builder, root).Run();
}

int64_t Automaton::Next(StateId s, uint8_t byte) const {
  const auto edges = bytes(s);
  const auto found =
      std::lower_bound(edges.begin(), edges.end(), byte,
                       [](const ByteEdge& edge, uint8_t b) { return edge.high < b; });
  return found != edges.end() && found->low <= byte ? static_cast<int64_t>(found->target) : -1;
}

size_t Automaton::memory_bytes() const {
  return sizeof(*this) + rules_.capacity() * sizeof(Rule) + accepts_.capacity() / 8 +
         bytes_.capacity() * sizeof(ByteEdge) + calls_.capacity() * sizeof(CallEdge) +
         tokens_.capacity() * sizeof(TokenEdge) +
         (needs_.capacity() + byte_begin_.capacity() + call_begin_.capacity() +
          token_begin_.capacity()) *
             sizeof(uint32_t);
}

}  // namespace inhouse::engine
