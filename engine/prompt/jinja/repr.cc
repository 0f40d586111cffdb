#include "engine/prompt/jinja/repr.h"

#include <cstdio>

#include "engine/prompt/jinja/number.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

void AppendEscape(char32_t c, std::string* out) {
  char buffer[16];
  const char* format = c < 0x100 ? "\\x%02x" : c < 0x10000 ? "\\u%04x" : "\\U%08x";
  std::snprintf(buffer, sizeof(buffer), format, static_cast<unsigned>(c));
  *out += buffer;
}

std::string ReprItems(const std::vector<Value>& items, const char* open, const char* close) {
  std::string out = open;
  for (size_t i = 0; i < items.size(); ++i) {
    if (i > 0) out += ", ";
    out += Repr(items[i]);
    if (out.size() > (size_t{1} << 28)) LimitError("a text is longer than 256 MiB");
  }
  return out + close;
}

std::string ReprDict(const DictObject& dict) {
  std::string out = "{";
  for (const auto& [key, value] : dict.entries) {
    if (out.size() > 1) out += ", ";
    out += Repr(key) + ": " + Repr(value);
    if (out.size() > (size_t{1} << 28)) LimitError("a text is longer than 256 MiB");
  }
  return out + "}";
}

std::string ReprView(const DictViewObject& view) {
  std::vector<Value> items;
  for (const auto& [key, value] : view.dict.AsDict().entries) {
    switch (view.part) {
      case DictPart::kKeys:
        items.push_back(key);
        break;
      case DictPart::kValues:
        items.push_back(value);
        break;
      case DictPart::kItems:
        items.push_back(Value::Tuple({key, value}));
        break;
    }
  }
  const char* name = view.part == DictPart::kKeys     ? "dict_keys(["
                     : view.part == DictPart::kValues ? "dict_values(["
                                                      : "dict_items([";
  return ReprItems(items, name, "])");
}

std::string ReprRange(const RangeObject& range) {
  std::string out = "range(" + std::to_string(range.start) + ", " + std::to_string(range.stop);
  if (range.step != 1) out += ", " + std::to_string(range.step);
  return out + ")";
}

// A namespace may hold itself; Python prints "{...}" there.
std::string ReprNamespace(const NamespaceObject& ns) {
  thread_local int nesting = 0;
  if (nesting >= 16) LimitError("a namespace that holds itself cannot be printed");
  ++nesting;
  std::string out = "<Namespace {";
  try {
    for (const auto& [key, value] : ns.attributes) {
      if (out.back() != '{') out += ", ";
      out += ReprString(key) + ": " + Repr(value);
    }
  } catch (...) {
    --nesting;
    throw;
  }
  --nesting;
  return out + "}>";
}

}  // namespace

std::string ReprString(std::string_view text) {
  const bool single = text.find('\'') != text.npos;
  const char quote = single && text.find('"') == text.npos ? '"' : '\'';
  std::string out(1, quote);
  for (size_t at = 0; at < text.size();) {
    const size_t before = at;
    const char32_t c = NextChar(text, &at);
    if (c == static_cast<char32_t>(quote) || c == '\\') {
      out += '\\';
      out += static_cast<char>(c);
    } else if (c == '\n') {
      out += "\\n";
    } else if (c == '\r') {
      out += "\\r";
    } else if (c == '\t') {
      out += "\\t";
    } else if (IsPrintable(c)) {
      out += text.substr(before, at - before);
    } else {
      AppendEscape(c, &out);
    }
  }
  return out + quote;
}

std::string AsciiOf(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextChar(text, &at);
    if (c < 0x80) {
      out += static_cast<char>(c);
    } else {
      AppendEscape(c, &out);
    }
  }
  return out;
}

std::string Str(const Value& value) {
  if (value.IsString()) return value.Text();
  if (value.IsUndefined()) return "";
  return Repr(value);
}

std::string Repr(const Value& value) {
  switch (value.kind()) {
    case Kind::kUndefined:
      return "Undefined";
    case Kind::kNone:
      return "None";
    case Kind::kBool:
      return value.AsBool() ? "True" : "False";
    case Kind::kInt:
    case Kind::kBigInt:
      return IntegerText(value);
    case Kind::kFloat:
      return FloatRepr(value.AsFloat());
    case Kind::kString: {
      std::string text = ReprString(value.Text());
      return value.IsMarkup() ? "Markup(" + text + ")" : text;
    }
    case Kind::kList:
      return ReprItems(value.Items(), "[", "]");
    case Kind::kTuple:
      return ReprItems(value.Items(), "(", value.Items().size() == 1 ? ",)" : ")");
    case Kind::kDict:
      return ReprDict(value.AsDict());
    case Kind::kDictView:
      return ReprView(value.As<DictViewObject>());
    case Kind::kRange:
      return ReprRange(value.As<RangeObject>());
    case Kind::kNamespace:
      return ReprNamespace(value.As<NamespaceObject>());
    case Kind::kIterator:
    case Kind::kLoop:
    case Kind::kMacro:
    case Kind::kFunction:
    case Kind::kCycler:
    case Kind::kJoiner:
      // Python prints an address here; a prompt must not depend on one.
      return "<" + std::string(TypeName(value)) + " object>";
  }
  return "";
}

}  // namespace inhouse::engine::jinja
