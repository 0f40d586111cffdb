// UTF-8: validation, and decoding with U+FFFD for what is not UTF-8.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace inhouse::base {

// One step of a decoder. For a byte sequence that is not UTF-8, `valid` is false, `code_point` is
// U+FFFD and `size` is the length of the maximal subpart (Unicode 15, section 3.9, table 3-8: what
// Python and browsers replace by one U+FFFD).
struct Utf8Step {
  char32_t code_point;
  uint8_t size;  // bytes consumed, 1..4
  bool valid;
  bool truncated;  // not valid, but would be with more bytes at the end of the text
};

// Decodes the code point at `text[0]`; `text` must not be empty.
Utf8Step DecodeUtf8(std::string_view text);

// Whether the whole text is well-formed UTF-8 (no surrogates, no overlong forms, at most U+10FFFF).
bool IsValidUtf8(std::string_view text);

// The text with each maximal ill-formed subpart replaced by U+FFFD.
std::string ReplaceInvalidUtf8(std::string_view text);

// The number of bytes at the end of `text` that begin a character and need more bytes to complete
// it (0..3).
size_t IncompleteUtf8Suffix(std::string_view text);

void AppendUtf8(char32_t code_point, std::string* out);

}  // namespace inhouse::base
