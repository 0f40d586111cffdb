#include "base/hex.h"

#include <algorithm>

namespace inhouse::base {

bool IsLowerHex(std::string_view text) {
  return std::ranges::all_of(
      text, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

}  // namespace inhouse::base
