#include "engine/sampling/grammar/nfa.h"

#include <utility>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {

RuleId GrammarBuilder::NewRule() {
  rules_.emplace_back().nodes.resize(2);
  nodes_ += 2;
  return static_cast<RuleId>(rules_.size() - 1);
}

RuleId GrammarBuilder::NewCounted(RuleId inner, uint32_t min, uint32_t max) {
  rules_.push_back({.kind = RuleDraft::Kind::kCounted, .a = inner, .min = min, .max = max});
  return static_cast<RuleId>(rules_.size() - 1);
}

RuleId GrammarBuilder::NewBoth(RuleId a, RuleId b) {
  rules_.push_back({.kind = RuleDraft::Kind::kBoth, .a = a, .b = b});
  return static_cast<RuleId>(rules_.size() - 1);
}

RuleId GrammarBuilder::NewOnlyFirst(RuleId a, RuleId b) {
  rules_.push_back({.kind = RuleDraft::Kind::kOnlyFirst, .a = a, .b = b});
  return static_cast<RuleId>(rules_.size() - 1);
}

NodeId GrammarBuilder::NewNode(RuleId rule) {
  if (++nodes_ > limits_.nfa_states) {
    Fail(base::InvalidInput(
        {.field = "grammar",
         .expected = fmt::format("at most {} states; this one is too large", limits_.nfa_states)}));
    return kEnd;
  }
  rules_[rule].nodes.emplace_back();
  return static_cast<NodeId>(rules_[rule].nodes.size() - 1);
}

void GrammarBuilder::Add(RuleId rule, NodeId from, NfaEdge edge) {
  if (++edges_ > 8 * limits_.nfa_states) {
    Fail(base::InvalidInput({.field = "grammar",
                             .expected = fmt::format("at most {} edges; this one is too large",
                                                     8 * limits_.nfa_states)}));
  }
  if (status_.ok()) rules_[rule].nodes[from].push_back(edge);
}

void GrammarBuilder::Empty(RuleId rule, NodeId from, NodeId to) {
  Add(rule, from, {.kind = NfaEdge::Kind::kEmpty, .target = to});
}

void GrammarBuilder::Bytes(RuleId rule, NodeId from, uint8_t low, uint8_t high, NodeId to) {
  Add(rule, from, {.kind = NfaEdge::Kind::kBytes, .low = low, .high = high, .target = to});
}

void GrammarBuilder::Call(RuleId rule, NodeId from, RuleId callee, NodeId to) {
  Add(rule, from, {.kind = NfaEdge::Kind::kRule, .label = callee, .target = to});
}

void GrammarBuilder::Token(RuleId rule, NodeId from, int32_t token, NodeId to) {
  Add(rule, from,
      {.kind = NfaEdge::Kind::kToken, .label = static_cast<uint32_t>(token), .target = to});
}

NodeId GrammarBuilder::Text(RuleId rule, NodeId from, std::string_view text) {
  for (const char c : text) {
    const NodeId next = NewNode(rule);
    Bytes(rule, from, static_cast<uint8_t>(c), static_cast<uint8_t>(c), next);
    from = next;
  }
  return from;
}

NodeId GrammarBuilder::CallTo(RuleId rule, NodeId from, RuleId callee) {
  const NodeId next = NewNode(rule);
  Call(rule, from, callee, next);
  return next;
}

RuleId GrammarBuilder::Choice(const std::vector<RuleId>& rules) {
  if (rules.size() == 1) return rules[0];
  const RuleId rule = NewRule();
  for (const RuleId one : rules) Call(rule, kStart, one, kEnd);
  return rule;
}

RuleId GrammarBuilder::Literal(std::string_view text) {
  const RuleId rule = NewRule();
  Empty(rule, Text(rule, kStart, text), kEnd);
  return rule;
}

void GrammarBuilder::Fail(absl::Status status) {
  if (status_.ok()) status_ = std::move(status);
}

}  // namespace inhouse::engine
