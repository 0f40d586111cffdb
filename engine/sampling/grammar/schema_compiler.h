// JSON Schema -> rules.
#pragma once

#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/json_rules.h"
#include "engine/sampling/grammar/nfa.h"

namespace inhouse::engine {

struct SchemaSource {
  std::string_view text = {};   // JSON
  std::string_view label = {};  // named in messages
  bool strict = false;          // unknown keywords are refused
};

// A rule for the values that satisfy the schema, of draft 2020-12 (and what older drafts and
// OpenAPI 3.0 spell differently: definitions, items as an array, nullable). README.md lists what is
// understood. What is not is refused by an InvalidArgument with the path of the keyword: nothing is
// passed over that would make a value invalid.
absl::StatusOr<RuleId> AddSchema(GrammarBuilder* builder, JsonRules* json,
                                 const SchemaSource& source);

}  // namespace inhouse::engine
