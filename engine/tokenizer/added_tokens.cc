#include "engine/tokenizer/added_tokens.h"

#include <algorithm>

#include "engine/tokenizer/code_points.h"

namespace inhouse::engine {
namespace {

// Where the character that ends at `end` begins.
size_t BeginOfLastChar(std::string_view text, size_t end) {
  do {
    --end;
  } while (end > 0 && (static_cast<uint8_t>(text[end]) & 0xC0) == 0x80);
  return end;
}

bool TraitAt(std::string_view text, size_t i, CharTrait trait) {
  return (CharTraits()[DecodeValidUtf8(text.data() + i).code_point] & trait) != 0;
}

bool StandsAlone(std::string_view text, size_t begin, size_t end) {
  const bool word_before = begin > 0 && TraitAt(text, BeginOfLastChar(text, begin), kWordChar);
  const bool word_after = end < text.size() && TraitAt(text, end, kWordChar);
  return !word_before && !word_after;
}

size_t SkipSpacesBack(std::string_view text, size_t begin, size_t floor) {
  while (begin > floor) {
    const size_t previous = BeginOfLastChar(text, begin);
    if (previous < floor || !TraitAt(text, previous, kSpace)) break;
    begin = previous;
  }
  return begin;
}

size_t SkipSpaces(std::string_view text, size_t end) {
  while (end < text.size() && TraitAt(text, end, kSpace)) {
    end += DecodeValidUtf8(text.data() + end).size;
  }
  return end;
}

}  // namespace

void AddedTokenMatcher::Add(const AddedToken& token, std::string_view content) {
  uint32_t node = 0;
  for (const char c : content) {
    const auto byte = static_cast<uint8_t>(c);
    auto& children = nodes_[node].children;
    const auto at = std::lower_bound(children.begin(), children.end(), byte,
                                     [](const auto& child, uint8_t b) { return child.first < b; });
    if (at != children.end() && at->first == byte) {
      node = at->second;
      continue;
    }
    const auto added = static_cast<uint32_t>(nodes_.size());
    children.insert(at, {byte, added});
    if (node == 0) roots_[byte] = added;
    nodes_.emplace_back();
    node = added;
  }
  if (node == 0 || nodes_[node].token >= 0) return;  // of two equal ones the first is found
  nodes_[node].token = static_cast<int32_t>(tokens_.size());
  tokens_.push_back({token.id, token.lstrip, token.rstrip, token.single_word});
}

size_t AddedTokenMatcher::MatchAt(std::string_view input, size_t i, int32_t* token) const {
  size_t longest = 0;
  uint32_t node = roots_[static_cast<uint8_t>(input[i])];
  for (size_t end = i + 1; node != 0; ++end) {
    if (nodes_[node].token >= 0) {
      longest = end - i;
      *token = nodes_[node].token;
    }
    if (end == input.size()) break;
    const auto byte = static_cast<uint8_t>(input[end]);
    const auto& children = nodes_[node].children;
    const auto at = std::lower_bound(children.begin(), children.end(), byte,
                                     [](const auto& child, uint8_t b) { return child.first < b; });
    node = at != children.end() && at->first == byte ? at->second : 0;
  }
  return longest;
}

bool AddedTokenMatcher::Next(std::string_view input, size_t from, size_t done, Found* found) const {
  if (tokens_.empty()) return false;
  for (size_t i = from; i < input.size();) {
    int32_t token = -1;
    const size_t size = roots_[static_cast<uint8_t>(input[i])] == 0 ? 0 : MatchAt(input, i, &token);
    if (size == 0) {
      ++i;
      continue;
    }
    const Flags& flags = tokens_[static_cast<size_t>(token)];
    const size_t end = i + size;
    if (flags.single_word && !StandsAlone(input, i, end)) {
      i = end;  // the match is dropped as a whole
      continue;
    }
    *found = {flags.id, flags.lstrip ? SkipSpacesBack(input, i, done) : i,
              flags.rstrip ? SkipSpaces(input, end) : end, end};
    return true;
  }
  return false;
}

}  // namespace inhouse::engine
