// Tokens -> tree, with Jinja 3.1's grammar and precedence (`~` binds tighter than `+`, `**` is left
// associative, a filter binds tighter than any operator but unary minus).
#pragma once

#include <string_view>

#include "engine/prompt/jinja/ast.h"

namespace inhouse::engine::jinja {

// Throws Error (kSyntax, kLimit).
Tree Parse(std::string_view source);

}  // namespace inhouse::engine::jinja
