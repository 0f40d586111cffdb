// A compiled grammar: deterministic automata, one for each rule, that call each other.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

using StateId = uint32_t;

// Where one rule is: a state of its automaton, or how often a counted rule's inner rule has come.
struct Position {
  StateId state = 0;   // kCountedBit | rule for a counted rule
  uint32_t count = 0;  // of a counted rule
  friend bool operator==(const Position&, const Position&) = default;
  friend auto operator<=>(const Position&, const Position&) = default;
};

inline constexpr StateId kCountedBit = 0x80000000;

struct ByteEdge {
  uint8_t low, high;
  StateId target;
};
struct CallEdge {
  RuleId rule;
  StateId target;
};
struct TokenEdge {
  int32_t token;
  StateId target;
};

// Immutable. Any thread may read it.
class Automaton {
 public:
  // The automata of all rules that `root` reaches. InvalidArgument for what has no end (a value
  // that contains itself always), for rules that begin with themselves, and beyond the limits.
  static absl::StatusOr<Automaton> Compile(const GrammarBuilder& builder, RuleId root);

  struct Rule {
    bool counted = false;
    bool calls = false;  // somewhere, another rule
    StateId start = 0;   // of an automaton
    RuleId inner = 0;    // counted: this rule, min to max times
    uint32_t min = 0;
    uint32_t max = kUnbounded;
    bool nullable = false;
    uint32_t order = 0;  // a rule that may begin with another has the smaller number
    uint32_t need = 0;   // frames that its shortest way to the end takes
  };

  RuleId root() const { return root_; }
  const Rule& rule(RuleId id) const { return rules_[id]; }
  size_t state_count() const { return accepts_.size(); }
  bool accepts(StateId s) const { return accepts_[s]; }
  uint32_t need(StateId s) const { return needs_[s]; }
  std::span<const ByteEdge> bytes(StateId s) const { return Part(bytes_, byte_begin_, s); }
  std::span<const CallEdge> calls(StateId s) const { return Part(calls_, call_begin_, s); }
  std::span<const TokenEdge> tokens(StateId s) const { return Part(tokens_, token_begin_, s); }
  // The state behind that byte, or -1.
  int64_t Next(StateId s, uint8_t byte) const;
  size_t memory_bytes() const;

 private:
  friend class AutomatonCompiler;
  template <typename T>
  static std::span<const T> Part(const std::vector<T>& all, const std::vector<uint32_t>& begin,
                                 StateId s) {
    return {all.data() + begin[s], begin[s + 1] - begin[s]};
  }

  RuleId root_ = 0;
  std::vector<Rule> rules_;
  std::vector<bool> accepts_;
  std::vector<uint32_t> needs_;
  std::vector<ByteEdge> bytes_;
  std::vector<CallEdge> calls_;
  std::vector<TokenEdge> tokens_;
  std::vector<uint32_t> byte_begin_{0}, call_begin_{0}, token_begin_{0};
};

inline constexpr uint32_t kNeverEnds = UINT32_MAX / 2;

}  // namespace inhouse::engine
