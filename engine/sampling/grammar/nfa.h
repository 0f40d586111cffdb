// The rules of a grammar while it is compiled: automata with edges on bytes, on tokens and on whole
// rules.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "engine/sampling/grammar/grammar_spec.h"

namespace inhouse::engine {

using RuleId = uint32_t;
using NodeId = uint32_t;

inline constexpr uint32_t kUnbounded = UINT32_MAX;

struct NfaEdge {
  enum class Kind : uint8_t { kEmpty, kBytes, kRule, kToken } kind = Kind::kEmpty;
  uint8_t low = 0;  // kBytes: low..high
  uint8_t high = 0;
  uint32_t label = 0;  // kRule: the rule; kToken: the token id
  NodeId target = 0;
};

struct RuleDraft {
  enum class Kind : uint8_t {
    kNodes,      // `nodes`, from node 0 to node 1
    kCounted,    // rule `a`, min to max times
    kBoth,       // what the regular rules `a` and `b` both match
    kOnlyFirst,  // what `a` matches and `b` does not
  } kind = Kind::kNodes;
  std::vector<std::vector<NfaEdge>> nodes = {};
  RuleId a = 0;
  RuleId b = 0;
  uint32_t min = 0;
  uint32_t max = kUnbounded;
};

// Collects rules. What exceeds a limit leaves an error behind and from then on nothing grows, so
// callers check status() once at the end. Not thread-safe.
class GrammarBuilder {
 public:
  explicit GrammarBuilder(const GrammarLimits& limits) : limits_(limits) {}

  RuleId NewRule();  // an automaton: starts at node kStart, accepts at node kEnd
  RuleId NewCounted(RuleId inner, uint32_t min, uint32_t max);
  // Of rules without calls and tokens.
  RuleId NewBoth(RuleId a, RuleId b);
  RuleId NewOnlyFirst(RuleId a, RuleId b);

  NodeId NewNode(RuleId rule);
  void Empty(RuleId rule, NodeId from, NodeId to);
  void Bytes(RuleId rule, NodeId from, uint8_t low, uint8_t high, NodeId to);
  void Call(RuleId rule, NodeId from, RuleId callee, NodeId to);
  void Token(RuleId rule, NodeId from, int32_t token, NodeId to);
  // The text from a node on; returns the node behind it.
  NodeId Text(RuleId rule, NodeId from, std::string_view text);
  NodeId CallTo(RuleId rule, NodeId from, RuleId callee);  // to a new node, which is returned

  // A rule that is one of others.
  RuleId Choice(const std::vector<RuleId>& rules);
  RuleId Literal(std::string_view text);

  void Fail(absl::Status status);  // the first one stays
  const absl::Status& status() const { return status_; }
  const std::vector<RuleDraft>& rules() const { return rules_; }
  const GrammarLimits& limits() const { return limits_; }

  static constexpr NodeId kStart = 0;
  static constexpr NodeId kEnd = 1;

 private:
  void Add(RuleId rule, NodeId from, NfaEdge edge);

  GrammarLimits limits_;
  std::vector<RuleDraft> rules_;
  size_t nodes_ = 0;
  size_t edges_ = 0;
  absl::Status status_ = absl::OkStatus();
};

}  // namespace inhouse::engine
