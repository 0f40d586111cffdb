// "%s" % x of Python.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/prompt/jinja/format_parts.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

// Pads a number with zeros behind its sign and prefix.
std::string PadZeros(const std::string& text, int64_t width) {
  const int64_t missing = width - static_cast<int64_t>(text.size());
  if (missing <= 0) return text;
  size_t at = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
  if (text.size() > at + 1 && text[at] == '0' && std::isalpha(text[at + 1] & 0xFF)) at += 2;
  return text.substr(0, at) + std::string(static_cast<size_t>(missing), '0') + text.substr(at);
}

struct Conversion {
  bool left = false, sign = false, space = false, alternate = false, zero = false;
  int64_t width = 0;
  int64_t precision = -1;
  char type = 0;
};

std::string PercentInteger(const Conversion& c, const Value& value) {
  Value integer = value;
  RequireDefined(value);
  const bool hex = c.type == 'x' || c.type == 'X' || c.type == 'o';
  if (value.Is(Kind::kFloat) && !hex) integer = Truncate(value.AsFloat());
  if (!integer.IsNumber() || integer.Is(Kind::kFloat)) {
    TypeError(std::string("%") + c.type + " format: a" + (hex ? "n integer" : " real number") +
              " is required, not " + std::string(TypeName(value)));
  }
  const int base = c.type == 'o' ? 8 : hex ? 16 : 10;
  std::string text = base == 10 ? IntegerText(integer) : IntegerTextBase(integer, base);
  const bool negative = text[0] == '-';
  if (negative) text.erase(0, 1);
  if (static_cast<int64_t>(text.size()) < c.precision) {
    text.insert(0, static_cast<size_t>(c.precision) - text.size(), '0');
  }
  if (c.alternate && base != 10) text.insert(0, base == 8 ? "0o" : "0x");
  if (c.type == 'X') {
    for (char& d : text) d = static_cast<char>(std::toupper(static_cast<unsigned char>(d)));
  }
  return (negative ? "-" : c.sign ? "+" : c.space ? " " : "") + text;
}

std::string PercentFloat(const Conversion& c, const Value& value) {
  RequireDefined(value);
  double number = 0;
  if (value.IsNumber()) {
    number = ToDouble(value);
  } else {
    TypeError("must be real number, not " + std::string(TypeName(value)));
  }
  const int precision =
      c.precision < 0 ? 6 : static_cast<int>(std::min(c.precision, kMaxFormatWidth));
  std::string text = FormatDouble(number, c.type, precision, c.alternate);
  if (text[0] != '-' && (c.sign || c.space)) text.insert(0, c.sign ? "+" : " ");
  return text;
}

class PercentFormatter {
 public:
  PercentFormatter(Runtime& runtime, const Value& format, const Value& args)
      : runtime_(runtime), markup_(format.IsMarkup()), s_(format.Text()), args_(args) {
    tuple_ = args.Is(Kind::kTuple);
    mapping_ = !tuple_ && !args.IsString() &&
               (args.Is(Kind::kDict) || args.Is(Kind::kList) || args.IsUndefined() ||
                args.Is(Kind::kRange));
  }

  std::string Run() {
    while (at_ < s_.size()) {
      const size_t next = s_.find('%', at_);
      out_ += s_.substr(at_, next - at_);
      if (next == s_.npos) break;
      at_ = next + 1;
      Convert();
      runtime_.CheckText(out_.size());
    }
    const size_t given = tuple_ ? args_.Items().size() : 1;
    if (!mapping_ && used_ < given) {
      TypeError("not all arguments converted during string formatting");
    }
    return std::move(out_);
  }

 private:
  Value NextArgument() {
    if (tuple_) {
      if (used_ >= args_.Items().size()) TypeError("not enough arguments for format string");
      return args_.Items()[used_++];
    }
    if (used_++ > 0) TypeError("not enough arguments for format string");
    return args_;
  }

  char Peek() {
    if (at_ >= s_.size()) ValueError("incomplete format");
    return s_[at_];
  }

  int64_t Number() {
    if (Peek() == '*') {
      ++at_;
      const auto value = AsIndex(NextArgument());
      if (!value) TypeError("* wants int");
      return Checked(*value);
    }
    int64_t n = 0;
    while (Peek() >= '0' && Peek() <= '9') n = Checked(n * 10 + (s_[at_++] - '0'));
    return n;
  }

  static int64_t Checked(int64_t n) {
    if (n > kMaxFormatWidth || n < -kMaxFormatWidth) LimitError("a format's width is too large");
    return n;
  }

  Value MappedArgument() {
    if (!args_.Is(Kind::kDict)) {
      RequireDefined(args_);
      TypeError("format requires a mapping");
    }
    int depth = 1;
    const size_t from = ++at_;
    for (; depth > 0; ++at_) {
      const char c = Peek();
      depth += c == '(' ? 1 : c == ')' ? -1 : 0;
    }
    const std::string key(s_.substr(from, at_ - 1 - from));
    const Value* found = args_.AsDict().Find(key);
    if (found == nullptr) Fail(Error::Kind::kValue, "KeyError: " + ReprString(key));
    return *found;
  }

  void Convert() {
    Conversion c;
    Value argument;
    bool mapped = false;
    if (Peek() == '(') {
      argument = MappedArgument();
      mapped = true;
    }
    for (bool flags = true; flags;) {
      switch (Peek()) {
        case '-':
          c.left = true;
          break;
        case '+':
          c.sign = true;
          break;
        case ' ':
          c.space = true;
          break;
        case '#':
          c.alternate = true;
          break;
        case '0':
          c.zero = true;
          break;
        default:
          flags = false;
      }
      if (flags) ++at_;
    }
    c.width = Number();
    if (c.width < 0) {
      c.left = true;
      c.width = -c.width;
    }
    if (Peek() == '.') {
      ++at_;
      c.precision = std::max<int64_t>(0, Number());
    }
    if (Peek() == 'h' || Peek() == 'l' || Peek() == 'L') ++at_;
    c.type = Peek();
    ++at_;
    if (c.type == '%') {
      out_ += '%';
      return;
    }
    if (!mapped) argument = NextArgument();
    out_ += Formatted(c, argument);
  }

  std::string Formatted(const Conversion& c, const Value& value) {
    std::string text;
    bool number = false;
    switch (c.type) {
      case 's':
        text = Str(value);
        if (markup_ && !value.IsMarkup()) text = EscapeHtml(text);
        break;
      case 'r':
        text = Repr(value);
        break;
      case 'a':
        text = AsciiOf(Repr(value));
        break;
      case 'd':
      case 'i':
      case 'u':
      case 'x':
      case 'X':
      case 'o':
        text = PercentInteger(c, value);
        number = true;
        break;
      case 'e':
      case 'E':
      case 'f':
      case 'F':
      case 'g':
      case 'G':
        text = PercentFloat(c, value);
        number = true;
        break;
      case 'c':
        text = CharText(value);
        break;
      default:
        ValueError(std::string("unsupported format character '") + c.type + "'");
    }
    int64_t length = CountChars(text);
    if (!number && c.type != 'c' && c.precision >= 0 && c.precision < length) {
      text = Encode(Decode(text).substr(0, static_cast<size_t>(c.precision)));
      length = c.precision;
    }
    if (number && c.zero && !c.left) return PadZeros(text, c.width);
    if (length >= c.width) return text;
    const std::string pad(static_cast<size_t>(c.width - length), ' ');
    return c.left ? text + pad : pad + text;
  }

  Runtime& runtime_;
  const bool markup_;
  const std::string_view s_;
  const Value& args_;
  bool tuple_, mapping_;
  size_t at_ = 0;
  size_t used_ = 0;
  std::string out_;
};

}  // namespace

std::string CharText(const Value& value) {
  if (value.IsString() && value.AsString().length == 1) return value.Text();
  const auto code = AsIndex(value);
  if (!code) TypeError("%c requires int or char");
  if (*code < 0 || *code > 0x10FFFF) {
    Fail(Error::Kind::kArithmetic, "OverflowError: %c arg not in range(0x110000)");
  }
  std::string out;
  AppendChar(static_cast<char32_t>(*code), &out);
  return out;
}

std::string FormatPercent(Runtime& runtime, const Value& format, const Value& args) {
  return PercentFormatter(runtime, format, args).Run();
}

}  // namespace inhouse::engine::jinja
