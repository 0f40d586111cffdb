// Hexadecimal digits as digests and trace ids are written.
#pragma once

#include <string_view>

namespace inhouse::base {

// Whether all characters are 0 to 9 or a to f; true for an empty text.
bool IsLowerHex(std::string_view text);

}  // namespace inhouse::base
