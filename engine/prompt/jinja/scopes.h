// Which names a frame hides from the moment it is entered.
#pragma once

#include "engine/prompt/jinja/ast.h"

namespace inhouse::engine::jinja {

// Jinja binds the names of a frame before it runs. A name that a frame assigns before it reads it
// belongs to the frame from the beginning: until the assignment runs, loops and macros inside do
// not see a variable of the same name that the caller gave. Fills `hidden` and `hidden_else` of the
// nodes that open frames (the rules are those of jinja2's idtracking).
void BindScopes(Node* root);

}  // namespace inhouse::engine::jinja
