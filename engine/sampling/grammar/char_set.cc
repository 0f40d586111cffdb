#include "engine/sampling/grammar/char_set.h"

#include <algorithm>
#include <array>
#include <string>

#include "base/utf8.h"

namespace inhouse::engine {
namespace {

// Bytes first..last of one length: if they differ before the last byte, the ranges in between are
// cut so that each piece is a product of byte ranges.
void AddRange(GrammarBuilder* b, RuleId rule, NodeId from, const std::string& first,
              const std::string& last, NodeId to) {
  const auto byte = [](char c) { return static_cast<uint8_t>(c); };
  if (first.size() == 1) return b->Bytes(rule, from, byte(first[0]), byte(last[0]), to);
  const std::string low(first.size() - 1, '\x80');
  const std::string high(first.size() - 1, '\xBF');
  uint8_t begin = byte(first[0]);
  uint8_t end = byte(last[0]);
  if (begin == end) {
    const NodeId next = b->NewNode(rule);
    b->Bytes(rule, from, begin, begin, next);
    return AddRange(b, rule, next, first.substr(1), last.substr(1), to);
  }
  if (first.substr(1) != low) {
    const NodeId next = b->NewNode(rule);
    b->Bytes(rule, from, begin, begin, next);
    AddRange(b, rule, next, first.substr(1), high, to);
    ++begin;
  }
  if (last.substr(1) != high) {
    const NodeId next = b->NewNode(rule);
    b->Bytes(rule, from, end, end, next);
    AddRange(b, rule, next, low, last.substr(1), to);
    --end;
  }
  if (begin > end) return;
  NodeId next = b->NewNode(rule);
  b->Bytes(rule, from, begin, end, next);
  for (size_t i = 1; i + 1 < first.size(); ++i) {
    const NodeId after = b->NewNode(rule);
    b->Bytes(rule, next, 0x80, 0xBF, after);
    next = after;
  }
  b->Bytes(rule, next, 0x80, 0xBF, to);
}

// Ranges of code points whose UTF-8 has one length, without surrogates.
constexpr std::array<std::pair<char32_t, char32_t>, 5> kLengths = {
    {{0, 0x7F}, {0x80, 0x7FF}, {0x800, 0xD7FF}, {0xE000, 0xFFFF}, {0x10000, 0x10FFFF}}};

std::string Utf8(char32_t c) {
  std::string out;
  base::AppendUtf8(c, &out);
  return out;
}

void AddPlain(GrammarBuilder* b, RuleId rule, NodeId from, char32_t low, char32_t high, NodeId to) {
  for (const auto& [first, last] : kLengths) {
    const char32_t begin = std::max(low, first);
    const char32_t end = std::min(high, last);
    if (begin <= end) AddRange(b, rule, from, Utf8(begin), Utf8(end), to);
  }
}

// The control characters, the quote and the backslash.
void AddEscaped(GrammarBuilder* b, RuleId rule, NodeId from, char32_t c, NodeId to) {
  constexpr std::string_view kShort = "\"\\\b\f\n\r\t";
  constexpr std::string_view kLetters = "\"\\bfnrt";
  std::string text = "\\";
  if (const size_t at = kShort.find(static_cast<char>(c)); at != kShort.npos) {
    text += kLetters[at];
  } else {
    constexpr std::string_view kHex = "0123456789abcdef";
    text += "u00";
    text += kHex[c >> 4];
    text += kHex[c & 15];
  }
  b->Empty(rule, b->Text(rule, from, text), to);
}

}  // namespace

void CharSet::Add(char32_t low, char32_t high) {
  if (low > high) return;
  auto begin = std::lower_bound(ranges_.begin(), ranges_.end(), low,
                                [](const auto& r, char32_t c) { return r.second + 1 < c; });
  auto end = begin;
  for (; end != ranges_.end() && end->first <= high + 1; ++end) {
    low = std::min(low, end->first);
    high = std::max(high, end->second);
  }
  ranges_.insert(ranges_.erase(begin, end), {low, high});
}

void CharSet::Add(const CharSet& other) {
  for (const auto& [low, high] : other.ranges_) Add(low, high);
}

CharSet CharSet::Complement() const {
  CharSet out;
  char32_t next = 0;
  for (const auto& [low, high] : ranges_) {
    if (low > next) out.Add(next, low - 1);
    next = high + 1;
  }
  if (next <= 0x10FFFF) out.Add(next, 0x10FFFF);
  return out;
}

bool CharSet::Contains(char32_t c) const {
  return std::any_of(ranges_.begin(), ranges_.end(),
                     [c](const auto& r) { return r.first <= c && c <= r.second; });
}

void AddChars(GrammarBuilder* builder, RuleId rule, NodeId from, const CharSet& chars,
              Spelling spelling, NodeId to) {
  if (spelling == Spelling::kPlain) {
    for (const auto& [low, high] : chars.ranges()) AddPlain(builder, rule, from, low, high, to);
    return;
  }
  const auto is_escaped = [](char32_t c) { return c < 0x20 || c == '"' || c == '\\'; };
  for (const auto& [low, high] : chars.ranges()) {
    for (char32_t c = low; c <= high && c <= '\\'; ++c) {
      if (is_escaped(c)) AddEscaped(builder, rule, from, c, to);
    }
    for (const auto& [first, last] :
         {std::pair<char32_t, char32_t>{0x20, 0x21}, {0x23, 0x5B}, {0x5D, 0x10FFFF}}) {
      const char32_t begin = std::max(low, first);
      const char32_t end = std::min(high, last);
      if (begin <= end) AddPlain(builder, rule, from, begin, end, to);
    }
  }
}

}  // namespace inhouse::engine
