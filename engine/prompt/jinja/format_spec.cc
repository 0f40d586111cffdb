// format(x, spec) of Python.
#include <algorithm>
#include <cmath>
#include <cstdio>

#include "engine/prompt/jinja/format_parts.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

struct Spec {
  std::string fill = " ";
  char align = 0;
  char sign = '-';
  bool alternate = false;
  int64_t width = 0;
  char grouping = 0;
  int64_t precision = -1;
  char type = 0;
};

bool IsAlign(char c) { return c == '<' || c == '>' || c == '=' || c == '^'; }

Spec ParseSpec(std::string_view s) {
  Spec spec;
  size_t first = 0;
  if (!s.empty()) NextChar(s, &first);
  if (first < s.size() && IsAlign(s[first])) {
    spec.fill = s.substr(0, first);
    spec.align = s[first];
    s.remove_prefix(first + 1);
  } else if (!s.empty() && IsAlign(s[0])) {
    spec.align = s[0];
    s.remove_prefix(1);
  }
  const auto take = [&](std::string_view chars) -> char {
    if (s.empty() || chars.find(s[0]) == chars.npos) return 0;
    const char c = s[0];
    s.remove_prefix(1);
    return c;
  };
  const auto number = [&]() -> int64_t {
    int64_t n = 0;
    while (!s.empty() && s[0] >= '0' && s[0] <= '9') {
      n = n * 10 + (s[0] - '0');
      if (n > kMaxFormatWidth) LimitError("a format's width is too large");
      s.remove_prefix(1);
    }
    return n;
  };
  if (const char c = take("+- ")) spec.sign = c;
  spec.alternate = take("#") != 0;
  if (take("0") != 0 && spec.align == 0) {
    spec.fill = "0";
    spec.align = '=';
  }
  spec.width = number();
  spec.grouping = take(",_");
  if (take(".") != 0) {
    if (s.empty() || s[0] < '0' || s[0] > '9') ValueError("Format specifier missing precision");
    spec.precision = number();
  }
  if (s.size() > 1) ValueError("Invalid format specifier");
  if (!s.empty()) spec.type = s[0];
  return spec;
}

// Puts a separator between groups of digits of the whole part.
std::string Group(const std::string& text, char separator, size_t each) {
  size_t begin = 0;
  while (begin < text.size() && !std::isxdigit(text[begin] & 0xFF)) ++begin;
  size_t end = begin;
  while (end < text.size() &&
         (each == 4 ? std::isxdigit(text[end] & 0xFF) : std::isdigit(text[end] & 0xFF))) {
    ++end;
  }
  std::string out = text.substr(0, begin);
  for (size_t i = begin; i < end; ++i) {
    if (i > begin && (end - i) % each == 0) out += separator;
    out += text[i];
  }
  return out + text.substr(end);
}

std::string Align(const Spec& spec, const std::string& text, char otherwise) {
  const int64_t missing = spec.width - CountChars(text);
  if (missing <= 0) return text;
  const char align = spec.align == 0 ? otherwise : spec.align;
  const auto pad = [&](int64_t n) {
    std::string out;
    for (int64_t i = 0; i < n; ++i) out += spec.fill;
    return out;
  };
  if (align == '<') return text + pad(missing);
  if (align == '^') return pad(missing / 2) + text + pad(missing - missing / 2);
  if (align == '=') {
    size_t at = !text.empty() && (text[0] == '-' || text[0] == '+' || text[0] == ' ') ? 1 : 0;
    if (text.size() > at + 1 && text[at] == '0' && std::isalpha(text[at + 1] & 0xFF)) at += 2;
    return text.substr(0, at) + pad(missing) + text.substr(at);
  }
  return pad(missing) + text;
}

std::string Signed(const Spec& spec, std::string text) {
  if (text[0] != '-' && spec.sign != '-') text.insert(0, 1, spec.sign);
  return text;
}

[[noreturn]] void UnknownType(char type, const Value& value) {
  ValueError(std::string("Unknown format code '") + type + "' for object of type '" +
             std::string(TypeName(value)) + "'");
}

std::string SpecFloat(const Spec& spec, double value) {
  char type = spec.type;
  int precision = spec.precision < 0 ? 6 : static_cast<int>(spec.precision);
  std::string text;
  if (type == 0 || type == 'r') {
    if (spec.precision < 0) {
      text = FloatRepr(value);
    } else {
      text = FormatDouble(value, 'g', std::max(precision, 1), spec.alternate);
      if (text.find_first_of(".en") == text.npos) text += ".0";
    }
  } else if (type == '%') {
    text = FormatDouble(value * 100, 'f', precision, spec.alternate) + "%";
  } else {
    if (type == 'n') type = 'g';
    text = FormatDouble(value, type, precision, spec.alternate);
  }
  text = Signed(spec, std::move(text));
  if (spec.grouping != 0) text = Group(text, spec.grouping, 3);
  return Align(spec, text, '>');
}

std::string SpecInteger(const Spec& spec, const Value& value) {
  const char type = spec.type == 0 || spec.type == 'n' ? 'd' : spec.type;
  if (std::string_view("eEfFgG%").find(type) != std::string_view::npos) {
    return SpecFloat(spec, ToDouble(value));
  }
  if (spec.precision >= 0) ValueError("Precision not allowed in integer format specifier");
  if (type == 'c') return Align(spec, CharText(value), '<');
  std::string text;
  if (type == 'd') {
    text = IntegerText(value);
  } else if (type == 'b' || type == 'o' || type == 'x' || type == 'X') {
    text = IntegerTextBase(value, type == 'b' ? 2 : type == 'o' ? 8 : 16);
    if (spec.alternate) {
      const char prefix[] = {'0', static_cast<char>(type | 0x20), '\0'};
      text.insert(text[0] == '-' ? 1 : 0, prefix);
    }
    if (type == 'X') {
      for (char& d : text) d = static_cast<char>(std::toupper(static_cast<unsigned char>(d)));
    }
  } else {
    UnknownType(type, value);
  }
  text = Signed(spec, std::move(text));
  if (spec.grouping != 0) text = Group(text, spec.grouping, type == 'd' ? 3 : 4);
  return Align(spec, text, '>');
}

}  // namespace

std::string FormatDouble(double value, char type, int precision, bool alternate) {
  if (std::isnan(value)) return std::isupper(type) ? "NAN" : "nan";
  if (std::isinf(value)) {
    if (std::isupper(type)) return value < 0 ? "-INF" : "INF";
    return value < 0 ? "-inf" : "inf";
  }
  char format[16];
  std::snprintf(format, sizeof(format), "%%%s.*%c", alternate ? "#" : "", type);
  const int size = std::snprintf(nullptr, 0, format, precision, value);
  std::vector<char> out(static_cast<size_t>(size) + 1);
  std::snprintf(out.data(), out.size(), format, precision, value);
  return std::string(out.data(), static_cast<size_t>(size));
}

std::string FormatSpec(const Value& value, std::string_view text) {
  if (text.empty()) return Str(value);
  if (value.IsString()) {
    const Spec spec = ParseSpec(text);
    if (spec.type != 0 && spec.type != 's') UnknownType(spec.type, value);
    if (spec.sign != '-') ValueError("Sign not allowed in string format specifier");
    if (spec.align == '=' && spec.fill != "0") {
      ValueError("'=' alignment not allowed in string format specifier");
    }
    std::string out = value.Text();
    if (spec.precision >= 0 && spec.precision < value.AsString().length) {
      out = out.substr(0, ByteOffset(value.AsString(), spec.precision));
    }
    Spec aligned = spec;
    if (aligned.align == '=') aligned.align = '<';
    return Align(aligned, out, '<');
  }
  if (!value.IsNumber()) {
    RequireDefined(value);
    TypeError("unsupported format string passed to " + std::string(TypeName(value)) +
              ".__format__");
  }
  const Spec spec = ParseSpec(text);
  if (!value.Is(Kind::kFloat)) return SpecInteger(spec, value);
  if (spec.type != 0 && std::string_view("eEfFgGn%").find(spec.type) == std::string_view::npos) {
    UnknownType(spec.type, value);
  }
  return SpecFloat(spec, value.AsFloat());
}

}  // namespace inhouse::engine::jinja
