// Template source -> tokens, by the rules of Jinja 3.1 with trim_blocks and lstrip_blocks on and
// keep_trailing_newline off, which is the environment of transformers' chat templates.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

enum class Token : uint8_t {
  kData,
  kVariableBegin,
  kVariableEnd,
  kBlockBegin,
  kBlockEnd,
  kName,
  kString,
  kInteger,
  kFloat,
  kOperator,  // text is the operator
  kEnd,
};

struct LexedToken {
  Token type;
  int line;
  std::string text;  // data, name, operator; the unescaped content of a string
  Value number;      // kInteger, kFloat
};

// Throws Error (kSyntax).
std::vector<LexedToken> Tokenize(std::string_view source);

}  // namespace inhouse::engine::jinja
