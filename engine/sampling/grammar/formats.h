// JSON Schema's string formats as regular expressions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inhouse::engine {

// An expression that matches some of the texts of that format, all of them valid; "" for formats
// that restrict nothing ("password"); nothing for a format that is not known here.
std::optional<std::string_view> FormatPattern(std::string_view format);
std::string FormatNames();  // for messages

}  // namespace inhouse::engine
