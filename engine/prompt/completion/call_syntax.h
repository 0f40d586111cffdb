// How a family of models spells tool calls, for grammars that force them and for reading them while
// they are written.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/prompt/completion/parser.h"
#include "engine/prompt/completion/splitter.h"
#include "engine/sampling/grammar/grammar_spec.h"
#include "nlohmann/json_fwd.hpp"

namespace inhouse::engine {

// open (call_open NAME after_name ARGUMENTS call_close, separated)+ close. Each part is a list of
// texts; those that begin with '<' may be single tokens.
struct CallSyntax {
  std::vector<std::string> open = {};
  std::vector<std::string> call_open = {};
  std::vector<std::string> after_name = {};
  std::vector<std::string> call_close = {};
  std::string separator = {};
  std::vector<std::string> close = {};
  bool quoted_name = false;  // the name is inside a JSON string
};

// Null for styles whose calls cannot be forced.
const CallSyntax* FindCallSyntax(CallStyle style);

// One to `calls_max` calls (< 0: some) of the tools, which are OpenAI's objects.
absl::StatusOr<GrammarSpec> GrammarOfCalls(const CallSyntax& syntax,
                                           const nlohmann::ordered_json& tools, int64_t calls_max);

// Reads text that follows that grammar: names at once, arguments as they come.
std::unique_ptr<ContentSplitter> NewForcedSplitter(const CallSyntax& syntax);

}  // namespace inhouse::engine
