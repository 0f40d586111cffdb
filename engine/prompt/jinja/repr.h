// str() and repr() of Python.
#pragma once

#include <string>
#include <string_view>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

std::string Str(const Value& value);
std::string Repr(const Value& value);
std::string ReprString(std::string_view text);
std::string AsciiOf(std::string_view text);  // non-ASCII as \x, \u, \U escapes: ascii()

}  // namespace inhouse::engine::jinja
