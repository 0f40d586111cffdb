#include "engine/tokenizer/byte_level.h"

#include <array>

#include "base/utf8.h"

namespace inhouse::engine {
namespace {

struct ByteLevelMap {
  std::array<char32_t, 256> char_of_byte;
  std::array<int16_t, 0x144> byte_of_char;  // -1 = none; the last character is U+0143
};

constexpr ByteLevelMap MakeMap() {
  ByteLevelMap map = {};
  for (auto& byte : map.byte_of_char) byte = -1;
  char32_t next = 0x100;
  for (size_t byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte != 0xAD);
    const char32_t c = printable ? static_cast<char32_t>(byte) : next++;
    map.char_of_byte[byte] = c;
    map.byte_of_char[c] = static_cast<int16_t>(byte);
  }
  return map;
}

constexpr ByteLevelMap kMap = MakeMap();

}  // namespace

char32_t ByteLevelChar(unsigned char byte) { return kMap.char_of_byte[byte]; }

std::optional<std::string> ByteLevelDecode(std::string_view token) {
  std::string bytes;
  bytes.reserve(token.size());
  while (!token.empty()) {
    const base::Utf8Step step = base::DecodeUtf8(token);
    if (!step.valid || step.code_point >= kMap.byte_of_char.size()) return std::nullopt;
    const int16_t byte = kMap.byte_of_char[step.code_point];
    if (byte < 0) return std::nullopt;
    bytes.push_back(static_cast<char>(byte));
    token.remove_prefix(step.size);
  }
  return bytes;
}

}  // namespace inhouse::engine
