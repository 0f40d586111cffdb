// Methods of str. Those of Markup give Markup.
#include <algorithm>
#include <limits>

#include "engine/prompt/jinja/library.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/jinja/text.h"

namespace inhouse::engine::jinja {
namespace {

Value Text(Runtime& runtime, const Value& self, std::string text) {
  return runtime.NewText(std::move(text), self.IsMarkup());
}

Value TextList(Runtime& runtime, const Value& self, std::vector<std::string> parts) {
  std::vector<Value> items;
  runtime.Charge(static_cast<int64_t>(parts.size()));
  for (std::string& part : parts) items.push_back(Text(runtime, self, std::move(part)));
  return Value::List(std::move(items));
}

// A string argument as it goes into `self`: Markup escapes what is not.
std::string Inserted(const Value& self, const Value& argument, const char* method) {
  const std::string& text = RequireText(argument, method);
  return self.IsMarkup() && !argument.IsMarkup() ? EscapeHtml(text) : text;
}

template <std::string (*kConvert)(std::string_view)>
Value Convert(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("str method", args, {});
  return Text(runtime, self, kConvert(self.Text()));
}

template <Side kSide>
Value StripMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("strip", args, {"chars"}, 0, 1);
  if (!bound.HasValue(0)) return Text(runtime, self, std::string(Strip(self.Text(), kSide)));
  return Text(runtime, self, std::string(Strip(self.Text(), kSide, bound.Text(0))));
}

template <bool kFromRight>
Value SplitMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("split", args, {"sep", "maxsplit"});
  const int64_t max_splits = bound.Int(1, -1);
  if (!bound.HasValue(0)) {
    return TextList(runtime, self, SplitSpace(self.Text(), max_splits, kFromRight));
  }
  if (bound.Text(0).empty()) ValueError("empty separator");
  return TextList(runtime, self, Split(self.Text(), bound.Text(0), max_splits, kFromRight));
}

Value SplitLinesMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("splitlines", args, {"keepends"});
  return TextList(runtime, self, SplitLines(self.Text(), bound.Bool(0, false)));
}

template <bool kFromRight>
Value Partition(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("partition", args, {"sep"}, 1, 1);
  const std::string& separator = bound.Text(0);
  if (separator.empty()) ValueError("empty separator");
  const std::string& text = self.Text();
  const size_t at = kFromRight ? text.rfind(separator) : text.find(separator);
  std::vector<std::string> parts;
  if (at != text.npos) {
    parts = {text.substr(0, at), separator, text.substr(at + separator.size())};
  } else if (kFromRight) {
    parts = {"", "", text};
  } else {
    parts = {text, "", ""};
  }
  return Value::Tuple(TextList(runtime, self, std::move(parts)).Items());
}

// The part of the text that start and end (code points, as in a slice) select, in bytes.
struct Range {
  size_t from, to;
  bool valid;  // start is not behind the end
};

Range Select(const Value& self, const Bound& bound, size_t start_at) {
  const StringObject& s = self.AsString();
  const auto adjust = [&](int64_t i) { return i < 0 ? std::max<int64_t>(0, i + s.length) : i; };
  const int64_t start = bound.HasValue(start_at) ? adjust(bound.Int(start_at, 0)) : 0;
  int64_t end = bound.HasValue(start_at + 1) ? adjust(bound.Int(start_at + 1, 0)) : s.length;
  end = std::min(end, s.length);
  if (start > end) return {0, 0, false};
  return {ByteOffset(s, start), ByteOffset(s, end), true};
}

template <bool kFromRight, bool kMustFind>
Value Find(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("find", args, {"sub", "start", "end"}, 1, 3);
  const std::string& sub = bound.Text(0);
  const Range range = Select(self, bound, 1);
  if (range.valid) {
    const std::string_view part =
        std::string_view(self.Text()).substr(range.from, range.to - range.from);
    const size_t at = kFromRight ? part.rfind(sub) : part.find(sub);
    if (at != part.npos) return Value::Int(CharIndex(self.AsString(), range.from + at));
  }
  if (kMustFind) ValueError("substring not found");
  return Value::Int(-1);
}

Value Count(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("count", args, {"sub", "start", "end"}, 1, 3);
  const std::string& sub = bound.Text(0);
  const Range range = Select(self, bound, 1);
  if (!range.valid) return Value::Int(0);
  const std::string_view part =
      std::string_view(self.Text()).substr(range.from, range.to - range.from);
  if (sub.empty()) return Value::Int(CountChars(part) + 1);
  int64_t n = 0;
  for (size_t at = 0; (at = part.find(sub, at)) != part.npos; at += sub.size()) ++n;
  return Value::Int(n);
}

template <bool kAtEnd>
Value Affix(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const char* const name = kAtEnd ? "endswith" : "startswith";
  const Bound bound(name, args, {"affix", "start", "end"}, 1, 3);
  const Range range = Select(self, bound, 1);
  const std::string_view part =
      std::string_view(self.Text()).substr(range.from, range.to - range.from);
  const auto matches = [&](const Value& affix) {
    RequireDefined(affix);
    if (!affix.IsString()) {
      TypeError(std::string(name) + " first arg must be str or a tuple of str, not " +
                std::string(TypeName(affix)));
    }
    return range.valid && (kAtEnd ? part.ends_with(affix.Text()) : part.starts_with(affix.Text()));
  };
  if (!bound[0].Is(Kind::kTuple)) return Value::Bool(matches(bound[0]));
  const auto& items = bound[0].Items();
  return Value::Bool(std::any_of(items.begin(), items.end(), matches));
}

template <bool kAtEnd>
Value RemoveAffix(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("removeprefix", args, {"affix"}, 1, 1);
  const std::string& affix = bound.Text(0);
  const std::string& text = self.Text();
  if (kAtEnd && !affix.empty() && text.ends_with(affix)) {
    return Text(runtime, self, text.substr(0, text.size() - affix.size()));
  }
  if (!kAtEnd && text.starts_with(affix)) return Text(runtime, self, text.substr(affix.size()));
  return self;
}

Value ReplaceMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("replace", args, {"old", "new", "count"}, 2, 3);
  const std::string& old_text = bound.Text(0);
  const std::string new_text = Inserted(self, bound[1], "replace");
  const int64_t limit = bound.Int(2, -1);
  // How long the result gets is known before it is made.
  size_t hits = old_text.empty() ? self.Text().size() + 1 : 0;
  for (size_t at = 0;
       !old_text.empty() && (at = self.Text().find(old_text, at)) != std::string::npos;
       at += old_text.size()) {
    ++hits;
  }
  if (limit >= 0) hits = std::min(hits, static_cast<size_t>(limit));
  runtime.ChargeText(self.Text().size());
  if (new_text.size() > old_text.size())
    runtime.ChargeText(hits * (new_text.size() - old_text.size()));
  std::string out = Replace(self.Text(), old_text, new_text, limit);
  return Text(runtime, self, std::move(out));
}

Value JoinMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("join", args, {"iterable"}, 1, 1);
  std::string out;
  bool first = true;
  RequireDefined(bound[0].IsUndefined() ? Value::List({}) : bound[0]);
  for (const Value& item : runtime.Iterate(bound[0])) {
    if (!item.IsString() && !self.IsMarkup()) {
      TypeError("sequence item: expected str instance, " + std::string(TypeName(item)) + " found");
    }
    const std::string text =
        self.IsMarkup() && !item.IsMarkup() ? EscapeHtml(Str(item)) : Str(item);
    if (!first) out += self.Text();
    first = false;
    runtime.CheckText(out.size() + text.size());
    out += text;
  }
  return Text(runtime, self, std::move(out));
}

enum class Justify { kLeft, kRight, kCenter };

template <Justify kJustify>
Value JustifyMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("center", args, {"width", "fillchar"}, 1, 2);
  const int64_t width = bound.Int(0, 0);
  const Value fill = bound.Or(1, Value::String(" "));
  if (!fill.IsString() || fill.AsString().length != 1) {
    TypeError("The fill character must be exactly one character long");
  }
  const int64_t pad = width - self.AsString().length;
  if (pad <= 0) return self;
  int64_t left = kJustify == Justify::kRight ? pad : 0;
  if (kJustify == Justify::kCenter) left = pad / 2 + (pad & width & 1);  // CPython's rule
  runtime.ChargeText(static_cast<size_t>(pad) * fill.Text().size() + self.Text().size());
  std::string out;
  for (int64_t i = 0; i < left; ++i) out += fill.Text();
  out += self.Text();
  for (int64_t i = left; i < pad; ++i) out += fill.Text();
  return Text(runtime, self, std::move(out));
}

Value ZeroFill(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("zfill", args, {"width"}, 1, 1);
  const int64_t pad = bound.Int(0, 0) - self.AsString().length;
  if (pad <= 0) return self;
  runtime.ChargeText(static_cast<size_t>(pad));
  std::string out = self.Text();
  const bool sign = !out.empty() && (out[0] == '+' || out[0] == '-');
  out.insert(sign ? 1 : 0, static_cast<size_t>(pad), '0');
  return Text(runtime, self, std::move(out));
}

Value ExpandTabs(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("expandtabs", args, {"tabsize"});
  const int64_t tab = bound.Int(0, 8);
  std::string out;
  int64_t column = 0;
  for (const char c : self.Text()) {
    if (c == '\t') {
      const int64_t n = tab > 0 ? tab - column % tab : 0;
      runtime.CheckText(out.size() + static_cast<size_t>(n));
      out.append(static_cast<size_t>(n), ' ');
      column += n;
      continue;
    }
    out += c;
    if ((static_cast<unsigned char>(c) & 0xC0) != 0x80) ++column;
    if (c == '\n' || c == '\r') column = 0;
  }
  return Text(runtime, self, std::move(out));
}

template <bool (*kTest)(char32_t)>
Value All(Runtime& /*runtime*/, const Value& self, Arguments& args) {
  const Bound bound("str method", args, {});
  const std::string& text = self.Text();
  for (size_t at = 0; at < text.size();) {
    if (!kTest(NextChar(text, &at))) return Value::Bool(false);
  }
  return Value::Bool(!text.empty());
}

bool IsAlnum(char32_t c) { return IsAlpha(c) || IsDecimal(c) || IsDigit(c) || IsNumeric(c); }

Value IsAsciiMethod(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  return Value::Bool(self.AsString().ascii());
}

Value IsPrintableMethod(Runtime& runtime, const Value& self, Arguments& args) {
  return self.Text().empty() ? Value::Bool(true) : All<IsPrintable>(runtime, self, args);
}

Value IsIdentifier(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  const std::u32string chars = Decode(self.Text());
  return Value::Bool(!chars.empty() && IsIdentifierStart(chars[0]) &&
                     std::all_of(chars.begin(), chars.end(), IsIdentifierPart));
}

// islower, isupper: at least one cased character, none of the other case.
template <bool (*kWanted)(char32_t), bool (*kOther)(char32_t)>
Value AllCased(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  bool any = false;
  for (size_t at = 0; at < self.Text().size();) {
    const char32_t c = NextChar(self.Text(), &at);
    if (kOther(c) || IsTitle(c)) return Value::Bool(false);
    any = any || kWanted(c);
  }
  return Value::Bool(any);
}

Value IsTitleMethod(Runtime& /*runtime*/, const Value& self, Arguments& /*args*/) {
  bool any = false, inside = false;
  for (size_t at = 0; at < self.Text().size();) {
    const char32_t c = NextChar(self.Text(), &at);
    if (IsUpper(c) || IsTitle(c)) {
      if (inside) return Value::Bool(false);
      any = inside = true;
    } else if (IsLower(c)) {
      if (!inside) return Value::Bool(false);
    } else {
      inside = false;
    }
  }
  return Value::Bool(any);
}

Value FormatMethod(Runtime& runtime, const Value& self, Arguments& args) {
  return Text(runtime, self, FormatBraces(runtime, self.Text(), args));
}

Value FormatMapMethod(Runtime& runtime, const Value& self, Arguments& args) {
  const Bound bound("format_map", args, {"mapping"}, 1, 1);
  if (!bound[0].Is(Kind::kDict)) TypeError("format_map() argument must be a mapping");
  Arguments inner;
  for (const auto& [key, value] : bound[0].AsDict().entries) {
    if (key.IsString()) inner.keywords.emplace_back(key.Text(), value);
  }
  return Text(runtime, self, FormatBraces(runtime, self.Text(), inner));
}

constexpr Named kMethods[] = {
    {"capitalize", Convert<Capitalize>},
    {"casefold", Convert<CaseFold>},
    {"center", JustifyMethod<Justify::kCenter>},
    {"count", Count},
    {"endswith", Affix<true>},
    {"expandtabs", ExpandTabs},
    {"find", Find<false, false>},
    {"format", FormatMethod},
    {"format_map", FormatMapMethod},
    {"index", Find<false, true>},
    {"isalnum", All<IsAlnum>},
    {"isalpha", All<IsAlpha>},
    {"isascii", IsAsciiMethod},
    {"isdecimal", All<IsDecimal>},
    {"isdigit", All<IsDigit>},
    {"isidentifier", IsIdentifier},
    {"islower", AllCased<IsLower, IsUpper>},
    {"isnumeric", All<IsNumeric>},
    {"isprintable", IsPrintableMethod},
    {"isspace", All<IsSpace>},
    {"istitle", IsTitleMethod},
    {"isupper", AllCased<IsUpper, IsLower>},
    {"join", JoinMethod},
    {"ljust", JustifyMethod<Justify::kLeft>},
    {"lower", Convert<Lower>},
    {"lstrip", StripMethod<Side::kLeft>},
    {"partition", Partition<false>},
    {"removeprefix", RemoveAffix<false>},
    {"removesuffix", RemoveAffix<true>},
    {"replace", ReplaceMethod},
    {"rfind", Find<true, false>},
    {"rindex", Find<true, true>},
    {"rjust", JustifyMethod<Justify::kRight>},
    {"rpartition", Partition<true>},
    {"rsplit", SplitMethod<true>},
    {"rstrip", StripMethod<Side::kRight>},
    {"split", SplitMethod<false>},
    {"splitlines", SplitLinesMethod},
    {"startswith", Affix<false>},
    {"strip", StripMethod<Side::kBoth>},
    {"swapcase", Convert<SwapCase>},
    {"title", Convert<TitleCase>},
    {"upper", Convert<Upper>},
    {"zfill", ZeroFill},
};

}  // namespace

Function FindStringMethod(std::string_view name) { return FindIn(kMethods, name); }

}  // namespace inhouse::engine::jinja
