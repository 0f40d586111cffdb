// What a tokenizer must know about code points: categories, white space, digits. The tables hold
// what Hugging Face `tokenizers` believes (unicode_tables.inc), not one version of Unicode.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace inhouse::engine {

constexpr char32_t kCodePointMax = 0x10FFFF;

struct CodePointRange {
  char32_t first;
  char32_t last;  // inclusive
};

// Traits, or-ed in a byte.
enum CharTrait : uint8_t {
  kLetter = 1,       // \p{L}
  kMark = 2,         // \p{M}
  kNumber = 4,       // \p{N}
  kPunctuation = 8,  // \p{P}
  kSymbol = 16,      // \p{S}
  kSpace = 32,       // \s: White_Space
  kNumeric = 64,     // what the Digits pre-tokenizer isolates
  kWordChar = 128,   // \w of the added-token matcher (`single_word`)
};

// A byte for each code point in two stages: equal blocks of 256 are stored once, so a table of a
// few classes takes some ten KB. Immutable.
class CodePointTable {
 public:
  struct Assignment {
    CodePointRange range;
    uint8_t bits;
  };
  // Each code point gets the bits of all assignments that cover it.
  explicit CodePointTable(std::span<const Assignment> assignments);
  uint8_t operator[](char32_t c) const {
    return cells_[static_cast<size_t>(block_[c >> 8]) << 8 | (c & 0xFF)];
  }

 private:
  std::array<uint16_t, (kCodePointMax >> 8) + 1> block_;
  std::vector<uint8_t> cells_;
};

// The CharTraits of every code point. Built on first use, then read-only.
const CodePointTable& CharTraits();

// The ranges of a general category or its group ("Lu", "L", ...); empty for an unknown name.
std::vector<CodePointRange> CategoryRanges(std::string_view name);
// The part of CategoryRanges that the Unicode tables of PCRE2 10.42 do not have.
std::vector<CodePointRange> CategoryRangesNewerThanPcre2(std::string_view name);
std::vector<CodePointRange> SpaceRanges();
// What `ranges` leaves out; `ranges` in increasing order.
std::vector<CodePointRange> Complement(std::span<const CodePointRange> ranges);

// For NFC: characters that may change, or change with what stands before them; and characters that
// utf8proc would change but the older tables of `tokenizers` do not know.
std::span<const CodePointRange> NfcUnsafeRanges();
std::span<const CodePointRange> NfcUnknownRanges();

// One character of text that is known to be UTF-8 and not empty.
struct DecodedChar {
  char32_t code_point;
  uint32_t size;
};

inline DecodedChar DecodeValidUtf8(const char* text) {
  const auto byte = [text](size_t i) {
    return static_cast<char32_t>(static_cast<uint8_t>(text[i]));
  };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F),
          4};
}

}  // namespace inhouse::engine
