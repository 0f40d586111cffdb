// Filters that make text.
#include <algorithm>

#include "engine/prompt/jinja/json.h"
#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

// soft_str(value): Markup stays Markup.
Value Soft(Runtime& runtime, const Value& value) {
  return value.IsString() ? value : runtime.NewText(Str(value));
}

std::string Spaces(Runtime& runtime, int64_t count) {
  runtime.ChargeText(static_cast<size_t>(count));
  return std::string(static_cast<size_t>(count), ' ');
}

// A filter that is the str method of the same name.
template <const char* kMethod>
Value ByMethod(Runtime& runtime, const Value& self, Arguments& args) {
  return FindStringMethod(kMethod)(runtime, Soft(runtime, self), args);
}
constexpr char kUpper[] = "upper";
constexpr char kLower[] = "lower";
constexpr char kCapitalize[] = "capitalize";

Value Trim(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("trim", args, {"chars"});
  const Value text = Soft(runtime, self);
  const auto chars =
      bound.HasValue(0) ? std::optional<std::string_view>(bound.Text(0)) : std::nullopt;
  return runtime.NewText(std::string(Strip(text.Text(), Side::kBoth, chars)), text.IsMarkup());
}

Value Center(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("center", args, {"width"});
  Arguments inner;
  inner.positional.push_back(Value::Int(bound.Int(0, 80)));
  return FindStringMethod("center")(runtime, Soft(runtime, self), inner);
}

Value Title(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("title", args, {});
  std::string out;
  const std::string text = Str(self);
  std::string word;
  const auto flush = [&] {
    if (word.empty()) return;
    size_t first = 0;
    NextChar(word, &first);
    out += Upper(std::string_view(word).substr(0, first)) +
           Lower(std::string_view(word).substr(first));
    word.clear();
  };
  bool separators = false;
  for (size_t at = 0; at < text.size();) {
    const size_t before = at;
    const char32_t c = NextChar(text, &at);
    const bool separates = IsSpace(c) || c == '-' || c == '(' || c == '{' || c == '[' || c == '<';
    if (separates != separators) flush();
    separators = separates;
    word += text.substr(before, at - before);
  }
  flush();
  return runtime.NewText(std::move(out));
}

Value Default(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("default", args, {"default_value", "boolean"});
  const bool replace = self.IsUndefined() || (bound.Bool(1, false) && !Truth(self));
  return replace ? bound.Or(0, Value::String("")) : self;
}

Value Escape(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("escape", args, {});
  return self.IsMarkup() ? self : runtime.NewText(EscapeHtml(Str(self)), true);
}

Value ForceEscape(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("forceescape", args, {});
  return runtime.NewText(EscapeHtml(Str(self)), true);
}

Value Safe(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("safe", args, {});
  return runtime.NewText(Str(self), true);
}

Value StringFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("string", args, {});
  return Soft(runtime, self);
}

Value ReplaceFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("replace", args, {"old", "new", "count"}, 2);
  Arguments inner;
  inner.positional = {Value::String(Str(bound[0])), Value::String(Str(bound[1])),
                      Value::Int(bound.HasValue(2) ? bound.Int(2, -1) : -1)};
  return FindStringMethod("replace")(runtime, Value::String(Str(self)), inner);
}

Value Format(Runtime& runtime, const Value& self, Arguments& args) {
  const Value format = Soft(runtime, self);
  if (!args.positional.empty() && !args.keywords.empty()) {
    Fail(Error::Kind::kRuntime, "can't handle positional and keyword arguments at the same time");
  }
  Value values = Value::Tuple(args.positional);
  if (!args.keywords.empty()) {
    auto dict = std::make_shared<DictObject>();
    for (const auto& [name, value] : args.keywords) dict->Set(Value::String(name), value);
    values = Value::Dict(std::move(dict));
  }
  return runtime.NewText(FormatPercent(runtime, format, values), format.IsMarkup());
}

Value Indent(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("indent", args, {"width", "first", "blank"});
  const std::string indent = bound.Has(0) && bound[0].IsString()
                                 ? bound.Text(0)
                                 : Spaces(runtime, (std::max<int64_t>(0, bound.Int(0, 4))));
  const std::string& text = RequireText(self, "indent");
  const std::vector<std::string> lines = SplitLines(text + "\n", false);
  runtime.ChargeText(text.size() + lines.size() * indent.size());
  std::string out = bound.Bool(1, false) ? indent : "";
  for (size_t i = 0; i < lines.size(); ++i) {
    if (i > 0) out += "\n";
    if (i > 0 && (bound.Bool(2, false) || !lines[i].empty())) out += indent;
    out += lines[i];
  }
  return runtime.NewText(std::move(out), self.IsMarkup());
}

Value Truncate(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("truncate", args, {"length", "killwords", "end", "leeway"});
  const int64_t length = bound.Int(0, 255);
  const Value end = bound.Or(2, Value::String("..."));
  const int64_t end_length = runtime.Length(end);
  const int64_t leeway = bound.HasValue(3) ? bound.Int(3, 5) : 5;
  if (length < end_length || leeway < 0) {
    Fail(Error::Kind::kRuntime,
         "AssertionError: expected length >= " + std::to_string(end_length) + " and leeway >= 0");
  }
  if (runtime.Length(self) <= length + leeway) return self;
  const std::string& text = RequireText(self, "truncate");
  std::string cut = text.substr(0, ByteOffset(self.AsString(), length - end_length));
  if (!bound.Bool(1, false)) cut = Split(cut, " ", 1, true)[0];
  return runtime.Binary(Arithmetic::kAdd, Value::String(cut, self.IsMarkup()), end);
}

Value WordCount(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("wordcount", args, {});
  const std::string text = Str(self);
  int64_t n = 0;
  bool inside = false;
  for (size_t at = 0; at < text.size();) {
    const bool word = IsWord(NextChar(text, &at));
    n += word && !inside ? 1 : 0;
    inside = word;
  }
  return Value::Int(n);
}

std::string QuoteUrl(std::string_view text, bool query) {
  constexpr char kHex[] = "0123456789ABCDEF";
  std::string out;
  for (const char c : text) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
                       c == '_' || c == '.' || c == '-' || c == '~' || (c == '/' && !query);
    if (plain) {
      out += c;
    } else if (c == ' ' && query) {
      out += '+';
    } else {
      out += '%';
      out += kHex[(c >> 4) & 0xF];
      out += kHex[c & 0xF];
    }
  }
  return out;
}

Value UrlEncode(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("urlencode", args, {});
  if (self.IsString() || self.IsNumber() || self.IsNone()) {
    return runtime.NewText(QuoteUrl(Str(self), false));
  }
  Arguments none;
  const Value pairs = self.Is(Kind::kDict) ? FindFilter("items")(runtime, self, none) : self;
  std::string out;
  for (const Value& pair : runtime.Iterate(pairs)) {
    const std::vector<Value> parts = runtime.Iterate(pair);
    if (parts.size() != 2) ValueError("urlencode: pairs of key and value are required");
    if (!out.empty()) out += '&';
    out += QuoteUrl(Str(parts[0]), true) + "=" + QuoteUrl(Str(parts[1]), true);
  }
  return runtime.NewText(std::move(out));
}

void RemoveBetween(std::string* text, std::string_view open, std::string_view close) {
  std::string out;
  size_t from = 0;
  while (true) {
    const size_t start = text->find(open, from);
    const size_t end = start == text->npos ? start : text->find(close, start);
    if (end == text->npos) break;
    out += text->substr(from, start - from);
    from = end + close.size();
  }
  *text = out + text->substr(from);
}

std::string Unescape(std::string text) {
  constexpr std::pair<std::string_view, std::string_view> kEntities[] = {
      {"&lt;", "<"},  {"&gt;", ">"},   {"&quot;", "\""},     {"&#34;", "\""},
      {"&#39;", "'"}, {"&#x27;", "'"}, {"&nbsp;", "\u00a0"}, {"&amp;", "&"}};
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const auto* hit = std::find_if(std::begin(kEntities), std::end(kEntities), [&](const auto& e) {
      return std::string_view(text).substr(at).starts_with(e.first);
    });
    if (hit != std::end(kEntities)) {
      out += hit->second;
      at += hit->first.size();
    } else {
      out += text[at++];
    }
  }
  return out;
}

Value StripTags(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("striptags", args, {});
  std::string text = Str(self);
  runtime.ChargeText(text.size());
  RemoveBetween(&text, "<!--", "-->");
  RemoveBetween(&text, "<", ">");
  std::string out;
  for (const std::string& word : SplitSpace(text, -1, false))
    out += (out.empty() ? "" : " ") + word;
  return runtime.NewText(Unescape(std::move(out)));
}

Value XmlAttr(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("xmlattr", args, {"autospace"});
  RequireDefined(self);
  if (!self.Is(Kind::kDict)) TypeError("xmlattr: a mapping is required");
  std::string out;
  for (const auto& [key, value] : self.AsDict().entries) {
    if (value.IsNone() || value.IsUndefined()) continue;
    const std::string& name = RequireText(key, "xmlattr");
    if (name.find_first_of(" \t\n\r\f\v/>=") != name.npos) {
      ValueError("Invalid character in attribute name: " + Repr(key));
    }
    if (!out.empty()) out += " ";
    out +=
        EscapeHtml(name) + "=\"" + (value.IsMarkup() ? Str(value) : EscapeHtml(Str(value))) + "\"";
  }
  if (!out.empty() && bound.Bool(0, true)) out.insert(0, " ");
  return runtime.NewText(std::move(out), runtime.autoescape);
}

Value ToJsonFilter(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("tojson", args, {"ensure_ascii", "indent", "separators", "sort_keys"});
  JsonStyle style;
  style.ensure_ascii = bound.Bool(0, false);
  style.sort_keys = bound.Bool(3, false);
  if (bound.HasValue(1)) {
    style.indent = bound[1].IsString() ? bound.Text(1)
                                       : Spaces(runtime, (std::max<int64_t>(0, bound.Int(1, 0))));
    style.item_separator = ",";
  }
  if (bound.HasValue(2)) {
    const std::vector<Value> separators = runtime.Iterate(bound[2]);
    if (separators.size() != 2) ValueError("separators: two texts are required");
    style.item_separator = RequireText(separators[0], "separators");
    style.key_separator = RequireText(separators[1], "separators");
  }
  return runtime.NewText(ToJson(self, style));
}

Value PPrint(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("pprint", args, {});
  return runtime.NewText(Repr(self));
}

constexpr Named kFilters[] = {
    {"capitalize", ByMethod<kCapitalize>},
    {"center", Center},
    {"d", Default},
    {"default", Default},
    {"e", Escape},
    {"escape", Escape},
    {"forceescape", ForceEscape},
    {"format", Format},
    {"indent", Indent},
    {"lower", ByMethod<kLower>},
    {"pprint", PPrint},
    {"replace", ReplaceFilter},
    {"safe", Safe},
    {"string", StringFilter},
    {"striptags", StripTags},
    {"title", Title},
    {"tojson", ToJsonFilter},
    {"trim", Trim},
    {"truncate", Truncate},
    {"upper", ByMethod<kUpper>},
    {"urlencode", UrlEncode},
    {"wordcount", WordCount},
    {"xmlattr", XmlAttr},
};

}  // namespace

Function FindTextFilter(std::string_view name) { return FindIn(kFilters, name); }

}  // namespace inhouse::engine::jinja
