// Grammars in EBNF -> rules.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

// The EBNF of llama.cpp (GBNF), which xgrammar reads as well:
//   root ::= "a" [0-9]+ (item | "x"){2,4} # comment
// Names of letters, digits, - and _; texts in double quotes with \n \t \r \" \\ \xHH \uHHHH;
// classes; . for any character; * + ? {n} {n,} {n,m}; alternatives, which may stand on lines of
// their own behind |. The text follows the rule "root". Errors name the line.
absl::StatusOr<RuleId> AddEbnf(GrammarBuilder* builder, std::string_view text);

}  // namespace inhouse::engine
