// Sets of characters, and how they are spelled in bytes.
#pragma once

#include <cstdint>
#include <utility>
#include <vector>

#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

// Sorted, disjoint ranges of code points.
class CharSet {
 public:
  CharSet() = default;
  CharSet(char32_t low, char32_t high) { Add(low, high); }
  static CharSet All() { return {0, 0x10FFFF}; }

  void Add(char32_t low, char32_t high);
  void Add(const CharSet& other);
  CharSet Complement() const;
  bool Contains(char32_t c) const;
  const std::vector<std::pair<char32_t, char32_t>>& ranges() const { return ranges_; }

 private:
  std::vector<std::pair<char32_t, char32_t>> ranges_;
};

enum class Spelling {
  kPlain,  // UTF-8
  kJson,   // inside a JSON string: UTF-8, and escapes for what JSON does not allow as it is
};

// Edges for one character of the set, from one node to another. Surrogates are left out.
void AddChars(GrammarBuilder* builder, RuleId rule, NodeId from, const CharSet& chars,
              Spelling spelling, NodeId to);

}  // namespace inhouse::engine
