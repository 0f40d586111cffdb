#include "engine/prompt/jinja/lexer.h"

#include <algorithm>
#include <charconv>
#include <optional>

#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

constexpr size_t kMaxTokens = 1 << 20;

[[noreturn]] void SyntaxError(std::string message, int line) {
  Fail(Error::Kind::kSyntax, std::move(message), line);
}

// "\r\n" and "\r" become "\n"; one newline at the end goes away.
std::string NormalizeNewlines(std::string_view source) {
  std::string out;
  out.reserve(source.size());
  for (size_t i = 0; i < source.size(); ++i) {
    if (source[i] == '\r') {
      if (i + 1 < source.size() && source[i + 1] == '\n') ++i;
      out += '\n';
    } else {
      out += source[i];
    }
  }
  if (!out.empty() && out.back() == '\n') out.pop_back();
  return out;
}

bool IsDigitAt(std::string_view s, size_t i) { return i < s.size() && s[i] >= '0' && s[i] <= '9'; }

// (\d+_)*\d+ : the end of a run of digits with single underscores between, or `at` if none.
size_t Digits(std::string_view s, size_t at) {
  if (!IsDigitAt(s, at)) return at;
  while (IsDigitAt(s, at) || (at < s.size() && s[at] == '_' && IsDigitAt(s, at + 1))) ++at;
  return at;
}

// The end of a float literal at `at`, or `at`.
size_t FloatEnd(std::string_view s, size_t at) {
  if (at > 0 && s[at - 1] == '.') return at;
  size_t end = Digits(s, at);
  if (end == at) return at;
  bool is_float = false;
  if (end < s.size() && s[end] == '.' && IsDigitAt(s, end + 1)) {
    end = Digits(s, end + 1);
    is_float = true;
  }
  if (end < s.size() && (s[end] | 0x20) == 'e') {
    size_t exponent = end + 1;
    if (exponent < s.size() && (s[exponent] == '+' || s[exponent] == '-')) ++exponent;
    const size_t after = Digits(s, exponent);
    if (after != exponent) return after;
  }
  return is_float ? end : at;
}

// The end of an integer literal at `at`, or `at`.
size_t IntegerEnd(std::string_view s, size_t at) {
  if (!IsDigitAt(s, at)) return at;
  const auto run = [&](size_t i, auto accepts) {
    while (true) {
      const size_t next = i < s.size() && s[i] == '_' ? i + 1 : i;
      if (next >= s.size() || !accepts(s[next])) return i;
      i = next + 1;
    }
  };
  if (s[at] == '0' && at + 1 < s.size()) {
    const char marker = static_cast<char>(s[at + 1] | 0x20);
    const auto accepts = [marker](char c) {
      if (marker == 'b') return c == '0' || c == '1';
      if (marker == 'o') return c >= '0' && c <= '7';
      const char lower = static_cast<char>(c | 0x20);
      return (c >= '0' && c <= '9') || (lower >= 'a' && lower <= 'f');
    };
    if (marker == 'b' || marker == 'o' || marker == 'x') {
      const size_t end = run(at + 2, accepts);
      if (end != at + 2) return end;
    }
  }
  if (s[at] == '0') return run(at + 1, [](char c) { return c == '0'; });
  return run(at + 1, [](char c) { return c >= '0' && c <= '9'; });
}

// Python's unicode-escape decoding of a string literal's inside.
std::string Unescape(std::string_view s, int line) {
  std::string out;
  const auto hex = [&](size_t at, size_t count) -> char32_t {
    uint32_t c = 0;
    const char* end = s.data() + std::min(s.size(), at + count);
    const auto [stop, error] = std::from_chars(s.data() + std::min(at, s.size()), end, c, 16);
    if (error != std::errc() || stop != s.data() + at + count) {
      SyntaxError("truncated \\x, \\u or \\U escape in a string", line);
    }
    if (c > 0x10FFFF) SyntaxError("illegal Unicode character in a string", line);
    return c;
  };
  for (size_t i = 0; i < s.size(); ++i) {
    if (s[i] != '\\' || i + 1 >= s.size()) {
      out += s[i];
      continue;
    }
    const char c = s[++i];
    constexpr std::string_view kPlain = "\\'\"abfnrtv";
    constexpr std::string_view kMeaning = "\\'\"\a\b\f\n\r\t\v";
    if (const size_t k = kPlain.find(c); k != kPlain.npos) {
      out += kMeaning[k];
    } else if (c == '\n') {
      // a continued line
    } else if (c == 'x' || c == 'u' || c == 'U') {
      const size_t count = c == 'x' ? 2 : c == 'u' ? 4 : 8;
      AppendChar(hex(i + 1, count), &out);
      i += count;
    } else if (c >= '0' && c <= '7') {
      char32_t octal = 0;
      size_t n = 0;
      for (; n < 3 && i < s.size() && s[i] >= '0' && s[i] <= '7'; ++n, ++i) {
        octal = octal * 8 + static_cast<char32_t>(s[i] - '0');
      }
      --i;
      AppendChar(octal, &out);
    } else if (c == 'N') {
      SyntaxError("\\N{...} escapes are not supported", line);
    } else {
      out += '\\';
      out += c;
    }
  }
  return out;
}

class Lexer {
 public:
  explicit Lexer(std::string_view source) : source_(NormalizeNewlines(source)), s_(source_) {}

  std::vector<LexedToken> Run() {
    while (at_ < s_.size()) LexRoot();
    Emit(Token::kEnd, "");
    return std::move(tokens_);
  }

 private:
  void Emit(Token type, std::string text, Value number = {}) {
    if (tokens_.size() >= kMaxTokens) LimitError("the template has more than a million tokens");
    tokens_.push_back({type, line_, std::move(text), std::move(number)});
  }

  bool StartsWith(size_t at, std::string_view what) const {
    return s_.substr(std::min(at, s_.size()), what.size()) == what;
  }

  size_t SkipSpace(size_t at) const {
    while (at < s_.size()) {
      size_t next = at;
      if (!IsSpace(NextChar(s_, &next))) break;
      at = next;
    }
    return at;
  }

  // Moves on to `end` and counts the lines.
  void Advance(size_t end) {
    line_ += static_cast<int>(std::count(s_.begin() + static_cast<ptrdiff_t>(at_),
                                         s_.begin() + static_cast<ptrdiff_t>(end), '\n'));
    if (end > at_) line_starting_ = s_[end - 1] == '\n';
    at_ = end;
  }

  // Emits the text before a tag whose white space control is `sign`; lstrip_blocks takes white
  // space between the beginning of the line and a block.
  void EmitData(size_t end, char sign, bool lstrip) {
    std::string_view text = s_.substr(at_, end - at_);
    if (sign == '-') {
      text = Strip(text, Side::kRight);
    } else if (sign != '+' && lstrip) {
      const size_t line = text.rfind('\n') + 1;  // npos + 1 = 0
      if ((line > 0 || line_starting_) && Strip(text.substr(line), Side::kBoth).empty()) {
        text = text.substr(0, line);
      }
    }
    if (!text.empty()) Emit(Token::kData, std::string(text));
    Advance(end);
  }

  // The next "{{", "{%" or "{#".
  size_t FindTag(size_t from) const {
    for (size_t i = from; (i = s_.find('{', i)) != s_.npos; ++i) {
      if (i + 1 < s_.size() && (s_[i + 1] == '{' || s_[i + 1] == '%' || s_[i + 1] == '#')) return i;
    }
    return s_.npos;
  }

  char SignAt(size_t at) const {
    return at < s_.size() && (s_[at] == '-' || s_[at] == '+') ? s_[at] : '\0';
  }

  // The end of "%}" (or "#}") with its white space control at `at`; npos if it is not there.
  // `trim`: a newline behind it goes away.
  size_t TagEnd(size_t at, std::string_view end, bool trim, bool plus) const {
    if (StartsWith(at, "-") && StartsWith(at + 1, end)) return SkipSpace(at + 1 + end.size());
    if (plus && StartsWith(at, "+") && StartsWith(at + 1, end)) return at + 1 + end.size();
    if (!StartsWith(at, end)) return s_.npos;
    at += end.size();
    return trim && StartsWith(at, "\n") ? at + 1 : at;
  }

  void LexRoot() {
    const size_t tag = FindTag(at_);
    if (tag == s_.npos) {
      Emit(Token::kData, std::string(s_.substr(at_)));
      Advance(s_.size());
      return;
    }
    const char sign = SignAt(tag + 2);
    const size_t inside = tag + 2 + (sign != '\0' ? 1 : 0);
    if (s_[tag + 1] == '%') {
      if (const size_t raw = RawBegin(inside); raw != s_.npos) {
        EmitData(tag, sign, true);
        Advance(raw);
        LexRaw();
        return;
      }
    }
    EmitData(tag, sign, s_[tag + 1] != '{');
    const char type = s_[tag + 1];
    if (type == '#') {
      LexComment(inside);
      return;
    }
    Emit(type == '{' ? Token::kVariableBegin : Token::kBlockBegin, "");
    Advance(inside);
    LexInside(type == '{');
  }

  size_t RawBegin(size_t inside) const {
    const size_t word = SkipSpace(inside);
    if (!StartsWith(word, "raw")) return s_.npos;
    return TagEnd(SkipSpace(word + 3), "%}", false, false);
  }

  void LexRaw() {
    for (size_t i = at_; (i = s_.find("{%", i)) != s_.npos; ++i) {
      const char sign = SignAt(i + 2);
      const size_t word = SkipSpace(i + 2 + (sign != '\0' ? 1 : 0));
      if (!StartsWith(word, "endraw")) continue;
      const size_t end = TagEnd(SkipSpace(word + 6), "%}", true, true);
      if (end == s_.npos) continue;
      EmitData(i, sign, true);
      Advance(end);
      return;
    }
    SyntaxError("Missing end of raw directive", line_);
  }

  void LexComment(size_t from) {
    for (size_t i = from; (i = s_.find("#}", i)) != s_.npos; ++i) {
      // The sign before the end belongs to it, unless it is also the sign of the beginning.
      const bool sign = i > from && (s_[i - 1] == '-' || s_[i - 1] == '+');
      Advance(TagEnd(sign ? i - 1 : i, "#}", true, true));
      return;
    }
    SyntaxError("Missing end of comment tag", line_);
  }

  void LexInside(bool variable) {
    std::string balance;
    while (at_ < s_.size()) {
      if (balance.empty()) {
        const size_t end =
            variable ? TagEnd(at_, "}}", false, false) : TagEnd(at_, "%}", true, true);
        if (end != s_.npos) {
          Emit(variable ? Token::kVariableEnd : Token::kBlockEnd, "");
          Advance(end);
          return;
        }
      }
      LexToken(&balance);
    }
    // The parser says what is missing.
  }

  void LexToken(std::string* balance) {
    if (const size_t end = SkipSpace(at_); end != at_) return Advance(end);
    if (const size_t end = FloatEnd(s_, at_); end != at_) {
      double value = 0;
      std::string text(s_.substr(at_, end - at_));
      std::erase(text, '_');
      ParseFloat(text, &value);
      Emit(Token::kFloat, text, Value::Float(value));
      return Advance(end);
    }
    if (const size_t end = IntegerEnd(s_, at_); end != at_) {
      Value value;
      const std::string_view text = s_.substr(at_, end - at_);
      if (!ParseInteger(text, 0, &value)) SyntaxError("integer literal too large", line_);
      Emit(Token::kInteger, std::string(text), value);
      return Advance(end);
    }
    if (const size_t end = NameEnd(); end != at_) {
      const std::string_view text = s_.substr(at_, end - at_);
      size_t first = 0;
      if (!IsIdentifierStart(NextChar(text, &first))) {
        SyntaxError("Invalid character in identifier", line_);
      }
      Emit(Token::kName, std::string(text));
      return Advance(end);
    }
    if (s_[at_] == '\'' || s_[at_] == '"') return LexString();
    LexOperator(balance);
  }

  size_t NameEnd() const {
    size_t end = at_;
    while (end < s_.size()) {
      size_t next = end;
      const char32_t c = NextChar(s_, &next);
      if (!IsWord(c) && !IsIdentifierPart(c)) break;
      end = next;
    }
    return end;
  }

  void LexString() {
    const char quote = s_[at_];
    size_t end = at_ + 1;
    while (end < s_.size() && s_[end] != quote) end += s_[end] == '\\' ? 2U : 1U;
    if (end >= s_.size()) {
      SyntaxError(std::string("unexpected char '") + quote + "': the string does not end", line_);
    }
    Emit(Token::kString, Unescape(s_.substr(at_ + 1, end - at_ - 1), line_));
    Advance(end + 1);
  }

  void LexOperator(std::string* balance) {
    constexpr std::string_view kLong[] = {"//", "**", "==", "!=", ">=", "<="};
    constexpr std::string_view kShort = "+-/*%~[](){}><=.:|,;";
    std::string op;
    for (const std::string_view candidate : kLong) {
      if (StartsWith(at_, candidate)) op = candidate;
    }
    if (op.empty() && kShort.find(s_[at_]) != kShort.npos) op = s_[at_];
    if (op.empty()) {
      size_t end = at_;
      NextChar(s_, &end);
      SyntaxError("unexpected char '" + std::string(s_.substr(at_, end - at_)) + "'", line_);
    }
    if (op == "{") balance->push_back('}');
    if (op == "(") balance->push_back(')');
    if (op == "[") balance->push_back(']');
    if (op == "}" || op == ")" || op == "]") {
      if (balance->empty()) SyntaxError("unexpected '" + op + "'", line_);
      if (balance->back() != op[0]) {
        SyntaxError("unexpected '" + op + "', expected '" + balance->back() + "'", line_);
      }
      balance->pop_back();
    }
    Emit(Token::kOperator, op);
    Advance(at_ + op.size());
  }

  const std::string source_;
  const std::string_view s_;
  size_t at_ = 0;
  int line_ = 1;
  bool line_starting_ = true;
  std::vector<LexedToken> tokens_;
};

}  // namespace

std::vector<LexedToken> Tokenize(std::string_view source) { return Lexer(source).Run(); }

}  // namespace inhouse::engine::jinja
