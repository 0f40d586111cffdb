// The byte <-> character map of byte-level BPE: each of the 256 bytes has a printable character.
#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace inhouse::engine {

// The character that stands for a byte: itself for 0x21-0x7E, 0xA1-0xAC and 0xAE-0xFF, else U+0100
// and up in the order of the bytes (GPT-2's encoder.py, bytes_to_unicode).
char32_t ByteLevelChar(unsigned char byte);

// The bytes that a vocabulary entry stands for; nothing if a character of it stands for no byte.
std::optional<std::string> ByteLevelDecode(std::string_view token);

}  // namespace inhouse::engine
