#include "engine/sampling/grammar/regex_parser.h"

#include <string>
#include <utility>

#include "base/status.h"
#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Kind = RegexNode::Kind;

CharSet Digits() { return {'0', '9'}; }
CharSet Words() {
  CharSet set('0', '9');
  set.Add('A', 'Z');
  set.Add('a', 'z');
  set.Add('_', '_');
  return set;
}
CharSet Spaces() {
  CharSet set(' ', ' ');
  set.Add('\t', '\n');
  set.Add('\f', '\r');
  return set;
}
// What no dialect counts as white space: \s is narrow, so \S is too.
CharSet NotSpaces() {
  CharSet set = Spaces();
  set.Add(0x0B, 0x0D);
  set.Add(0x1C, 0x1F);
  set.Add(0x85, 0x85);
  set.Add(0xA0, 0xA0);
  set.Add(0x1680, 0x1680);
  set.Add(0x2000, 0x200A);
  set.Add(0x2028, 0x2029);
  set.Add(0x202F, 0x202F);
  set.Add(0x205F, 0x205F);
  set.Add(0x3000, 0x3000);
  set.Add(0xFEFF, 0xFEFF);
  return set.Complement();
}
CharSet NotNewline() { return CharSet('\n', '\n').Complement(); }

bool NamedClass(std::string_view name, CharSet* out) {
  const auto range = [out](char a, char b) {
    out->Add(static_cast<char32_t>(a), static_cast<char32_t>(b));
  };
  if (name == "alpha" || name == "alnum") range('A', 'Z'), range('a', 'z');
  if (name == "alnum" || name == "digit" || name == "xdigit") range('0', '9');
  if (name == "xdigit") range('A', 'F'), range('a', 'f');
  if (name == "upper") range('A', 'Z');
  if (name == "lower") range('a', 'z');
  if (name == "space") out->Add(Spaces()), range('\v', '\v');
  if (name == "word") out->Add(Words());
  if (name == "punct") range('!', '/'), range(':', '@'), range('[', '`'), range('{', '~');
  if (name == "blank") range(' ', ' '), range('\t', '\t');
  if (name == "print" || name == "graph") range(name == "print" ? ' ' : '!', '~');
  if (name == "ascii") range(0, 0x7F);
  if (name == "cntrl") range(0, 0x1F), range(0x7F, 0x7F);
  return !out->ranges().empty();
}

// Recursive descent; after the first error nothing is read.
class Parser {
 public:
  Parser(std::string_view text, const GrammarLimits& limits) : text_(text), limits_(limits) {}

  absl::StatusOr<RegexNode> Run() {
    RegexNode node = ReadChoice(0);
    if (status_.ok() && !text_.empty()) Fail("a ')' has no '('");
    if (!status_.ok()) return status_;
    return node;
  }

 private:
  void Fail(const std::string& what) {
    if (status_.ok()) {
      status_ =
          base::InvalidInput({.value = std::string(text_.substr(0, 40)),
                              .expected = "a regular expression that can shape a text: " + what});
    }
    text_ = {};
  }

  bool Take(std::string_view what) {
    if (!text_.starts_with(what)) return false;
    text_.remove_prefix(what.size());
    return true;
  }

  char32_t TakeChar() {
    if (text_.empty()) return 0;
    const base::Utf8Step step = base::DecodeUtf8(text_);
    text_.remove_prefix(step.size);
    return step.code_point;
  }

  RegexNode ReadChoice(int depth) {
    if (depth > limits_.depth) Fail("it is nested too deeply");
    RegexNode choice{.kind = Kind::kChoice};
    do {
      choice.parts.push_back(ReadSequence(depth));
    } while (Take("|"));
    return choice.parts.size() == 1 ? std::move(choice.parts[0]) : std::move(choice);
  }

  RegexNode ReadSequence(int depth) {
    RegexNode sequence;
    while (!text_.empty() && text_[0] != '|' && text_[0] != ')') {
      sequence.parts.push_back(ReadRepeated(depth));
    }
    return sequence.parts.size() == 1 ? std::move(sequence.parts[0]) : std::move(sequence);
  }

  RegexNode ReadRepeated(int depth) {
    RegexNode node = ReadAtom(depth);
    while (!text_.empty()) {
      RegexNode repeat{.kind = Kind::kRepeat};
      if (Take("*")) {
      } else if (Take("+")) {
        repeat.min = 1;
      } else if (Take("?")) {
        repeat.max = 1;
      } else if (!ReadBounds(&repeat)) {
        break;
      }
      Take("?");  // lazy or greedy: the same texts
      repeat.parts.push_back(std::move(node));
      node = std::move(repeat);
    }
    return node;
  }

  bool ReadNumber(size_t* at, int64_t* out) const {
    const size_t begin = *at;
    *out = 0;
    while (*at < text_.size() && text_[*at] >= '0' && text_[*at] <= '9' && *at - begin < 9) {
      *out = *out * 10 + (text_[(*at)++] - '0');
    }
    return *at > begin;
  }

  // {m}, {m,} or {m,n}; any other brace is a character, as RE2 reads it.
  bool ReadBounds(RegexNode* out) {
    size_t at = 1;
    if (text_[0] != '{' || !ReadNumber(&at, &out->min)) return false;
    out->max = out->min;
    if (at < text_.size() && text_[at] == ',') {
      ++at;
      out->max = -1;
      if (at < text_.size() && text_[at] != '}' && !ReadNumber(&at, &out->max)) return false;
    }
    if (at >= text_.size() || text_[at] != '}') return false;
    if (std::max(out->min, out->max) > limits_.regex_repeat ||
        (out->max >= 0 && out->max < out->min)) {
      Fail(fmt::format("its bounds are at most {}", limits_.regex_repeat));
      return false;
    }
    text_.remove_prefix(at + 1);
    return true;
  }

  RegexNode ReadAtom(int depth) {
    if (Take("(")) {
      if (Take("?")) {
        if (Take("P<") || (text_.starts_with("<") && Take("<"))) {
          const size_t end = text_.find('>');
          text_.remove_prefix(end == text_.npos ? text_.size() : end + 1);
        } else if (!Take(":")) {
          Fail("it has no flags and no look-around");
        }
      }
      RegexNode inner = ReadChoice(depth + 1);
      if (!Take(")")) Fail("a '(' has no ')'");
      return inner;
    }
    if (Take("^") || Take("\\A")) return {.kind = Kind::kBegin};
    if (Take("$") || Take("\\z")) return {.kind = Kind::kEnd};
    RegexNode node{.kind = Kind::kChars};
    if (Take(".")) {
      node.chars = NotNewline();
    } else if (Take("[")) {
      node.chars = ReadSet();
    } else if (Take("\\")) {
      node.chars = ReadEscape();
    } else {
      const char32_t c = TakeChar();
      node.chars.Add(c, c);
    }
    return node;
  }

  char32_t ReadHex(size_t digits) {
    char32_t c = 0;
    if (text_.size() < digits) Fail("\\x is followed by hexadecimal digits");
    for (size_t i = 0; i < digits && !text_.empty(); ++i) {
      const char h = text_[0];
      const bool digit = h >= '0' && h <= '9';
      if (!digit && !((h | 32) >= 'a' && (h | 32) <= 'f')) {
        Fail("\\x is followed by hexadecimal digits");
        return 0;
      }
      c = c * 16 + static_cast<char32_t>(digit ? h - '0' : (h | 32) - 'a' + 10);
      text_.remove_prefix(1);
    }
    return c;
  }

  char32_t ReadCodePoint() {
    if (!Take("{")) return ReadHex(2);
    const size_t end = text_.find('}');
    if (end == text_.npos || end == 0 || end > 6) {
      Fail("\\x{ is followed by up to six hexadecimal digits and '}'");
      return 0;
    }
    const char32_t c = ReadHex(end);
    Take("}");
    return c;
  }

  // Behind a backslash. A set if it names several characters.
  CharSet ReadEscape() {
    if (text_.empty()) {
      Fail("nothing follows a backslash");
      return {};
    }
    const char32_t c = TakeChar();
    switch (c) {
      case 'd':
        return Digits();
      case 'D':
        return Digits().Complement();
      case 'w':
        return Words();
      case 'W':
        return Words().Complement();
      case 's':
        return Spaces();
      case 'S':
        return NotSpaces();
      case 'n':
        return {'\n', '\n'};
      case 't':
        return {'\t', '\t'};
      case 'r':
        return {'\r', '\r'};
      case 'f':
        return {'\f', '\f'};
      case 'v':
        return {'\v', '\v'};
      case 'a':
        return {'\a', '\a'};
      case 'x': {
        const char32_t code = ReadCodePoint();
        return {code, code};
      }
      default:
        break;
    }
    const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
    if (letter) Fail(fmt::format("it has no \\{}", static_cast<char>(c)));
    return {c, c};
  }

  // Behind '['.
  CharSet ReadSet() {
    CharSet set;
    const bool negated = Take("^");
    for (bool first = true; !text_.empty() && (first || text_[0] != ']'); first = false) {
      if (text_.starts_with("[:")) {
        const size_t end = text_.find(":]");
        const bool no = text_.starts_with("[:^");
        CharSet named;
        if (end == text_.npos ||
            !NamedClass(text_.substr(no ? 3 : 2, end - (no ? 3 : 2)), &named)) {
          Fail("it knows no such class of characters");
          return {};
        }
        set.Add(no ? named.Complement() : named);
        text_.remove_prefix(end + 2);
        continue;
      }
      const CharSet low = ReadSetChar();
      const bool range = text_.size() >= 2 && text_[0] == '-' && text_[1] != ']';
      const bool single =
          low.ranges().size() == 1 && low.ranges()[0].first == low.ranges()[0].second;
      if (!range || !single) {
        set.Add(low);
        continue;
      }
      Take("-");
      const CharSet high = ReadSetChar();
      if (high.ranges().empty()) break;
      set.Add(low.ranges()[0].first, high.ranges()[0].second);
    }
    if (!Take("]")) Fail("a '[' has no ']'");
    return negated ? set.Complement() : set;
  }

  CharSet ReadSetChar() {
    if (Take("\\")) return ReadEscape();
    const char32_t c = TakeChar();
    return {c, c};
  }

  std::string_view text_;
  const GrammarLimits& limits_;
  absl::Status status_ = absl::OkStatus();
};

}  // namespace

absl::StatusOr<RegexNode> ParseRegex(std::string_view regex, const GrammarLimits& limits) {
  return Parser(regex, limits).Run();
}

}  // namespace inhouse::engine
