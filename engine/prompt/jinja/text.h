// Python's str on UTF-8: everything counts in code points.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "engine/prompt/jinja/value.h"

namespace inhouse::engine::jinja {

// Decodes the character at `text[at]` and moves `at` behind it. Surrogates that escapes in a
// template made pass, as in Python.
char32_t NextChar(std::string_view text, size_t* at);
// The character that ends before `at`; moves `at` to its beginning.
char32_t PreviousChar(std::string_view text, size_t* at);
void AppendChar(char32_t c, std::string* out);
int64_t CountChars(std::string_view text);
std::u32string Decode(std::string_view text);
std::string Encode(std::u32string_view text);

// Byte offset of code point `index` (0..length).
size_t ByteOffset(const StringObject& s, int64_t index);
int64_t CharIndex(const StringObject& s, size_t byte_offset);

bool IsSpace(char32_t c);  // str.isspace, and \s of re
bool IsAlpha(char32_t c);
bool IsDecimal(char32_t c);
bool IsDigit(char32_t c);
bool IsNumeric(char32_t c);
bool IsPrintable(char32_t c);
bool IsUpper(char32_t c);
bool IsLower(char32_t c);
bool IsTitle(char32_t c);
bool IsCased(char32_t c);
bool IsIdentifierStart(char32_t c);
bool IsIdentifierPart(char32_t c);
inline bool IsWord(char32_t c) {  // \w of re
  return c == '_' || IsAlpha(c) || IsDecimal(c) || IsDigit(c) || IsNumeric(c);
}

std::string Upper(std::string_view text);
std::string Lower(std::string_view text);
std::string TitleCase(std::string_view text);   // str.title
std::string Capitalize(std::string_view text);  // str.capitalize
std::string SwapCase(std::string_view text);
std::string CaseFold(std::string_view text);

enum class Side { kLeft, kRight, kBoth };
// Without `chars`: white space.
std::string_view Strip(std::string_view text, Side side,
                       std::optional<std::string_view> chars = std::nullopt);

std::vector<std::string> SplitSpace(std::string_view text, int64_t max_splits, bool from_right);
std::vector<std::string> Split(std::string_view text, std::string_view separator,
                               int64_t max_splits, bool from_right);
std::vector<std::string> SplitLines(std::string_view text, bool keep_ends);
std::string Replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t count);
std::string EscapeHtml(std::string_view text);

}  // namespace inhouse::engine::jinja
