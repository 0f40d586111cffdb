// What the text of an answer shall look like, before it is compiled.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace inhouse::engine {

// A tree: leaves say what a piece of text is, inner nodes join them. A default node is "no
// grammar".
struct GrammarSpec {
  enum class Kind : uint8_t {
    kNone,
    kText,        // `text`, byte for byte
    kMarker,      // `text` as the one token that spells it, or, where there is none, as text
    kJsonValue,   // any JSON value
    kJsonObject,  // any JSON object
    kJsonSchema,  // `text` is a JSON Schema; a value that satisfies it
    kRegex,       // `text` is a regular expression in RE2's syntax that matches everything
    kEbnf,        // `text` is a grammar in EBNF (ebnf.h says which); the rule "root"
    kSequence,    // all parts, one after another
    kChoice,      // one of the parts
    kRepeat,      // the first part, `min` to `max` times (max < 0: any number)
  };
  Kind kind = Kind::kNone;
  std::string text = {};
  std::string label = {};  // where `text` came from, for messages: "tools['f'].function.parameters"
  bool strict = false;     // kJsonSchema: keywords that JSON Schema does not know are refused, too
  int64_t min = 0;
  int64_t max = -1;
  std::vector<GrammarSpec> parts = {};

  bool empty() const { return kind == Kind::kNone; }
};

// What is refused before it costs anything. The defaults keep every compilation below 100 ms and
// some megabytes.
struct GrammarLimits {
  size_t text_bytes = 128 << 10;   // of all texts of a spec
  int depth = 40;                  // of a schema, after references; of a regex; of a spec
  size_t schema_nodes = 4096;      // subschemas that are compiled, copies made by allOf included
  size_t enum_values = 4096;       // of one schema
  size_t regex_bytes = 2048;       // of one expression
  int64_t regex_memory = 1 << 20;  // what RE2 may use for it
  int64_t regex_repeat = 1000;     // the largest bound of a {m,n}
  int64_t items = 1 << 20;         // the largest minItems, maxLength, ...
  size_t nfa_states = 100'000;     // of all rules
  size_t dfa_states = 24'000;      // of all rules
  size_t work = 3'000'000;         // set elements touched while automata are made deterministic
};

}  // namespace inhouse::engine
