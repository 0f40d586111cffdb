// The syntax tree of a regular expression.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/char_set.h"
#include "engine/sampling/grammar/grammar_spec.h"

namespace inhouse::engine {

struct RegexNode {
  enum class Kind : uint8_t { kChars, kSequence, kChoice, kRepeat, kBegin, kEnd };
  Kind kind = Kind::kSequence;
  CharSet chars = {};
  std::vector<RegexNode> parts = {};
  int64_t min = 0;
  int64_t max = -1;  // < 0: any number
};

// `regex` is valid UTF-8 and RE2 accepts it.
absl::StatusOr<RegexNode> ParseRegex(std::string_view regex, const GrammarLimits& limits);

}  // namespace inhouse::engine
