// Regular expressions in RE2's syntax -> rules.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/char_set.h"
#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

struct RegexOptions {
  Spelling spelling = Spelling::kPlain;
  // False: the expression matches everything, as it is usual for a regex that shapes an answer.
  // True: it is looked for, as JSON Schema's "pattern" is, unless ^ and $ hold it.
  bool search = false;
  bool quoted = false;  // between double quotes: a whole JSON string
};

// A rule for the texts that match. RE2 judges syntax and size first; then what has no meaning for a
// generator (\b, flags, \C, look-around, ^ or $ in the middle) is refused. The status has no file
// and no field: the caller knows where the expression came from.
absl::StatusOr<RuleId> AddRegex(GrammarBuilder* builder, std::string_view regex,
                                const RegexOptions& options);

}  // namespace inhouse::engine
