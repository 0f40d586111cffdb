// Rules for JSON itself.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

// Makes each rule once. One for each GrammarBuilder.
class JsonRules {
 public:
  explicit JsonRules(GrammarBuilder* builder) : b_(builder) {}

  // Between tokens: nothing, a space, or a line break with up to 16 spaces or tabs. No more, so
  // that a model that likes white space comes to an end.
  RuleId Space();
  RuleId Value();
  RuleId Object();
  RuleId Array();
  RuleId String();
  RuleId StringOfLength(uint32_t min, uint32_t max);  // in code points
  // A key of an object, spelled in one way only: what is compared with other keys byte by byte.
  RuleId Key();
  RuleId Number();
  RuleId Integer();
  RuleId Boolean();
  RuleId Null();

  // [ first... rest* ] with so many items in all.
  struct ArrayShape {
    std::vector<RuleId> first = {};
    std::optional<RuleId> rest = {};
    uint32_t min = 0;
    uint32_t max = kUnbounded;
  };
  RuleId ArrayOf(const ArrayShape& shape);
  // { "key": value, ... } of a key rule and a value rule.
  RuleId ObjectOf(RuleId key, RuleId value, uint32_t min, uint32_t max);

  // `key` `:` `value` from a node to a new one.
  NodeId Member(RuleId rule, NodeId from, RuleId key, RuleId value);
  // , and white space.
  NodeId Comma(RuleId rule, NodeId from);
  // White space and the closing bracket, to the end of the rule.
  void Close(RuleId rule, NodeId from, char bracket);

 private:
  RuleId StringChar();

  GrammarBuilder* b_;
  std::optional<RuleId> space_, value_, object_, array_, string_, char_, key_, number_, integer_,
      boolean_, null_;
};

}  // namespace inhouse::engine
