// What the ways to format share.
#pragma once

#include <cstdint>
#include <string>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

// Widths and precisions that a format may ask for.
inline constexpr int64_t kMaxFormatWidth = 1 << 20;

// As C's printf with %[#].{precision}{type}.
std::string FormatDouble(double value, char type, int precision, bool alternate);
// The character of %c: a text of one character, or a code point.
std::string CharText(const Value& value);

}  // namespace inhouse::engine::jinja
