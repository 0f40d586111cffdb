// The word patterns, alternative by alternative in the order of the regex: the first that matches
// wins, as in a backtracking engine.
#include <algorithm>
#include <cstdint>
#include <limits>

#include "engine/tokenizer/code_points.h"
#include "engine/tokenizer/splitter.h"

namespace inhouse::engine {
namespace {

constexpr size_t kNoMatch = std::numeric_limits<size_t>::max();

bool IsAsciiLetter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z'); }
bool IsAsciiPunctuation(char c) {
  return c > ' ' && c < 0x7F && !IsAsciiLetter(c) && (c < '0' || c > '9');
}
bool IsLineEnd(char c) { return c == '\r' || c == '\n'; }

// A piece with the traits of its characters.
class Reader {
 public:
  Reader(std::string_view text, const CodePointTable& traits) : text_(text), traits_(traits) {}

  size_t size() const { return text_.size(); }
  char operator[](size_t i) const { return text_[i]; }
  uint8_t Traits(size_t i, size_t* next) const {
    const DecodedChar c = DecodeValidUtf8(text_.data() + i);
    *next = i + c.size;
    return traits_[c.code_point];
  }
  bool Has(size_t i, uint8_t any) const {
    size_t next;
    return i < size() && (Traits(i, &next) & any) != 0;
  }
  // The end of the run of characters with (without) any of the traits.
  size_t RunOf(size_t i, uint8_t any) const {
    for (size_t next = i; i < size() && (Traits(i, &next) & any) != 0;) i = next;
    return i;
  }
  size_t RunWithout(size_t i, uint8_t any) const {
    for (size_t next = i; i < size() && (Traits(i, &next) & any) == 0;) i = next;
    return i;
  }
  size_t RunOfLineEnds(size_t i) const {
    while (i < size() && IsLineEnd(text_[i])) ++i;
    return i;
  }

 private:
  std::string_view text_;
  const CodePointTable& traits_;
};

// `\s*[\r\n]+` if `line_ends`, then `\s+(?!\S)|\s+`; text[i] is white space.
size_t MatchSpaces(const Reader& text, size_t i, bool line_ends) {
  size_t last = i;  // where the last character of the run begins
  size_t after_line_end = kNoMatch;
  size_t end = i;
  for (size_t next = i; end < text.size() && (text.Traits(end, &next) & kSpace) != 0; end = next) {
    last = end;
    if (IsLineEnd(text[end])) after_line_end = next;
  }
  // Greedy \s* gives back as little as it can: up to the last line end of the run.
  if (line_ends && after_line_end != kNoMatch) return after_line_end;
  if (end == text.size()) return end;
  return last > i ? last : end;  // the last one stays with what follows
}

// `'s|'t|'re|'ve|'m|'ll|'d`; text[i] is the apostrophe. `any_case` as Unicode folds: also 'ſ.
size_t MatchContraction(const Reader& text, size_t i, bool any_case) {
  const auto at = [&](size_t k) {
    if (k >= text.size()) return '\0';
    const char c = text[k];
    return any_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c + 32) : c;
  };
  const char first = at(i + 1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return i + 2;
  const char second = at(i + 2);
  if ((first == 'r' || first == 'v') && second == 'e') return i + 3;
  if (first == 'l' && second == 'l') return i + 3;
  if (any_case && first == '\xC5' && second == '\xBF') return i + 3;  // U+017F
  return kNoMatch;
}

struct Gpt2Words {
  static size_t MatchAt(const Reader& text, size_t i) {
    if (text[i] == '\'') {
      if (const size_t end = MatchContraction(text, i, false); end != kNoMatch) return end;
    }
    const size_t word = text[i] == ' ' && i + 1 < text.size() ? i + 1 : i;
    size_t next;
    const uint8_t traits = text.Traits(word, &next);
    if ((traits & kLetter) != 0) return text.RunOf(next, kLetter);
    if ((traits & kNumber) != 0) return text.RunOf(next, kNumber);
    if ((traits & kSpace) == 0) return text.RunWithout(next, kSpace | kLetter | kNumber);
    return MatchSpaces(text, i, false);
  }
};

template <int kDigitsMax>
struct Llama3Words {
  static size_t MatchAt(const Reader& text, size_t i) {
    if (text[i] == '\'') {
      if (const size_t end = MatchContraction(text, i, true); end != kNoMatch) return end;
    }
    size_t next;
    const uint8_t traits = text.Traits(i, &next);
    if ((traits & kLetter) != 0) return text.RunOf(next, kLetter);
    if ((traits & kNumber) != 0) {
      for (int n = 1; n < kDigitsMax && text.Has(next, kNumber); ++n) text.Traits(next, &next);
      return next;
    }
    if (!IsLineEnd(text[i]) && text.Has(next, kLetter)) return text.RunOf(next, kLetter);
    const size_t symbol = text[i] == ' ' && next < text.size() ? next : i;
    if (!text.Has(symbol, kSpace | kLetter | kNumber)) {
      return text.RunOfLineEnds(text.RunWithout(symbol, kSpace | kLetter | kNumber));
    }
    return MatchSpaces(text, i, true);
  }
};

struct DeepSeekV3Words {
  static size_t MatchAt(const Reader& text, size_t i) {
    if (IsAsciiPunctuation(text[i]) && i + 1 < text.size() && IsAsciiLetter(text[i + 1])) {
      size_t end = i + 2;
      while (end < text.size() && IsAsciiLetter(text[end])) ++end;
      return end;
    }
    constexpr uint8_t kWord = kLetter | kMark;
    constexpr uint8_t kSymbols = kPunctuation | kSymbol;
    size_t next;
    const uint8_t traits = text.Traits(i, &next);
    if ((traits & kWord) != 0) return text.RunOf(next, kWord);
    if ((traits & kSymbols) == 0 && !IsLineEnd(text[i]) && text.Has(next, kWord)) {
      return text.RunOf(next, kWord);
    }
    const size_t symbol = text[i] == ' ' ? next : i;
    if (text.Has(symbol, kSymbols)) return text.RunOfLineEnds(text.RunOf(symbol, kSymbols));
    if ((traits & kSpace) != 0) return MatchSpaces(text, i, true);
    return kNoMatch;  // digits and controls
  }
};

template <typename Words>
class WordSplitter : public Splitter {
 public:
  bool Find(std::string_view piece, size_t from, Match* match) const override {
    const Reader text(piece, traits_);
    for (size_t i = from; i < piece.size();) {
      if (const size_t end = Words::MatchAt(text, i); end != kNoMatch) {
        *match = {i, end};
        return true;
      }
      text.Traits(i, &i);
    }
    return false;
  }

 private:
  const CodePointTable& traits_ = CharTraits();
};

// A pattern with its line ends written as \r and \n, whichever way the file has them.
std::string WithEscapedLineEnds(std::string_view pattern) {
  std::string out;
  for (const char c : pattern) {
    if (c == '\r') {
      out += "\\r";
    } else if (c == '\n') {
      out += "\\n";
    } else {
      out += c;
    }
  }
  return out;
}

}  // namespace

std::unique_ptr<Splitter> MakeWordSplitter(std::string_view pattern) {
  const std::string escaped = WithEscapedLineEnds(pattern);
  if (escaped == kGpt2Pattern) return std::make_unique<WordSplitter<Gpt2Words>>();
  if (escaped == kQwen2Pattern) return std::make_unique<WordSplitter<Llama3Words<1>>>();
  if (escaped == kLlama3Pattern) return std::make_unique<WordSplitter<Llama3Words<3>>>();
  if (escaped == kDeepSeekV3Pattern) return std::make_unique<WordSplitter<DeepSeekV3Words>>();
  return nullptr;
}

}  // namespace inhouse::engine
