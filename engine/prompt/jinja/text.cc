#include "engine/prompt/jinja/text.h"

#include <utf8proc.h>

#include <algorithm>
#include <iterator>
#include <limits>

#include "engine/prompt/jinja/unicode_tables.h"

namespace inhouse::engine::jinja {
namespace {

bool IsContinuation(char c) { return (static_cast<unsigned char>(c) & 0xC0) == 0x80; }

utf8proc_category_t Category(char32_t c) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(c));
}

template <size_t N>
bool InRanges(const CharRange (&ranges)[N], char32_t c) {
  const auto* it = std::upper_bound(std::begin(ranges), std::end(ranges), c,
                                    [](char32_t x, const CharRange& r) { return x < r.first; });
  return it != std::begin(ranges) && c <= std::prev(it)->last;
}

const SpecialCase* FindSpecial(char32_t c) {
  if (c < 0x80) return nullptr;
  const auto* it = std::lower_bound(std::begin(kSpecialCases), std::end(kSpecialCases), c,
                                    [](const SpecialCase& s, char32_t x) { return s.from < x; });
  return it != std::end(kSpecialCases) && it->from == c ? it : nullptr;
}

void AppendSpecial(const char32_t (&chars)[3], std::string* out) {
  for (const char32_t c : chars) {
    if (c != 0) AppendChar(c, out);
  }
}

void AppendUpper(char32_t c, std::string* out) {
  if (const SpecialCase* special = FindSpecial(c)) return AppendSpecial(special->upper, out);
  AppendChar(static_cast<char32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(c))), out);
}

void AppendTitle(char32_t c, std::string* out) {
  if (const SpecialCase* special = FindSpecial(c)) return AppendSpecial(special->title, out);
  AppendChar(static_cast<char32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(c))), out);
}

bool IsCaseIgnorable(char32_t c) {
  const auto category = Category(c);
  return c == '\'' || c == '.' || c == ':' || c == 0xB7 || c == 0x2019 || c == '^' || c == '`' ||
         category == UTF8PROC_CATEGORY_MN || category == UTF8PROC_CATEGORY_ME ||
         category == UTF8PROC_CATEGORY_CF || category == UTF8PROC_CATEGORY_LM ||
         category == UTF8PROC_CATEGORY_SK;
}

// Unicode's Final_Sigma: a cased letter before, none behind.
bool IsFinalSigma(const std::u32string& text, size_t i) {
  size_t before = i;
  while (before > 0 && IsCaseIgnorable(text[before - 1])) --before;
  if (before == 0 || !IsCased(text[before - 1])) return false;
  size_t after = i + 1;
  while (after < text.size() && IsCaseIgnorable(text[after])) ++after;
  return after == text.size() || !IsCased(text[after]);
}

void AppendLower(const std::u32string& text, size_t i, std::string* out) {
  const char32_t c = text[i];
  if (c == 0x130) {
    AppendChar('i', out);
    AppendChar(0x307, out);
  } else if (c == 0x3A3) {
    AppendChar(IsFinalSigma(text, i) ? 0x3C2 : 0x3C3, out);
  } else {
    AppendChar(static_cast<char32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(c))), out);
  }
}

bool Contains(const std::u32string& set, char32_t c) { return set.find(c) != set.npos; }

}  // namespace

char32_t NextChar(std::string_view text, size_t* at) {
  const auto byte = [&](size_t i) { return static_cast<char32_t>(text[i] & 0xFF); };
  const char32_t lead = byte(*at);
  const size_t size = lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  if (*at + size > text.size()) {
    *at = text.size();
    return 0xFFFD;
  }
  char32_t c = size == 1 ? lead : lead & (0xFFU >> (size + 1));
  for (size_t i = 1; i < size; ++i) c = c << 6 | (byte(*at + i) & 0x3F);
  *at += size;
  return c;
}

char32_t PreviousChar(std::string_view text, size_t* at) {
  size_t begin = *at - 1;
  while (begin > 0 && IsContinuation(text[begin])) --begin;
  *at = begin;
  size_t end = begin;
  return NextChar(text, &end);
}

void AppendChar(char32_t c, std::string* out) {
  const auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
    return;
  }
  if (c < 0x800) {
    put(0xC0 | c >> 6);
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
  } else {
    put(0xF0 | (c >> 18 & 0x07));
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
  }
  put(0x80 | (c & 0x3F));
}

int64_t CountChars(std::string_view text) {
  int64_t n = 0;
  for (const char c : text) n += IsContinuation(c) ? 0 : 1;
  return n;
}

std::u32string Decode(std::string_view text) {
  std::u32string out;
  for (size_t at = 0; at < text.size();) out.push_back(NextChar(text, &at));
  return out;
}

std::string Encode(std::u32string_view text) {
  std::string out;
  for (const char32_t c : text) AppendChar(c, &out);
  return out;
}

size_t ByteOffset(const StringObject& s, int64_t index) {
  if (s.ascii() || index <= 0) return static_cast<size_t>(std::max<int64_t>(index, 0));
  if (index >= s.length) return s.text.size();
  size_t at = 0;
  for (int64_t i = 0; i < index; ++i) {
    ++at;
    while (at < s.text.size() && IsContinuation(s.text[at])) ++at;
  }
  return at;
}

int64_t CharIndex(const StringObject& s, size_t byte_offset) {
  if (s.ascii()) return static_cast<int64_t>(byte_offset);
  return CountChars(std::string_view(s.text).substr(0, byte_offset));
}

bool IsSpace(char32_t c) {
  if (c < 0x80) return (c >= 0x09 && c <= 0x0D) || (c >= 0x1C && c <= 0x20);
  return c == 0x85 || c == 0xA0 || c == 0x1680 || (c >= 0x2000 && c <= 0x200A) || c == 0x2028 ||
         c == 0x2029 || c == 0x202F || c == 0x205F || c == 0x3000;
}

bool IsAlpha(char32_t c) {
  const auto k = Category(c);
  return k >= UTF8PROC_CATEGORY_LU && k <= UTF8PROC_CATEGORY_LO;
}
bool IsDecimal(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_ND; }
bool IsDigit(char32_t c) { return IsDecimal(c) || InRanges(kDigitRanges, c); }
bool IsNumeric(char32_t c) {
  const auto k = Category(c);
  return (k >= UTF8PROC_CATEGORY_ND && k <= UTF8PROC_CATEGORY_NO) || InRanges(kIdeographNumbers, c);
}
bool IsPrintable(char32_t c) {
  if (c == ' ') return true;
  const auto k = Category(c);
  return k != UTF8PROC_CATEGORY_CN && k < UTF8PROC_CATEGORY_ZS;
}
bool IsUpper(char32_t c) { return utf8proc_isupper(static_cast<utf8proc_int32_t>(c)) != 0; }
bool IsLower(char32_t c) { return utf8proc_islower(static_cast<utf8proc_int32_t>(c)) != 0; }
bool IsTitle(char32_t c) { return Category(c) == UTF8PROC_CATEGORY_LT; }
bool IsCased(char32_t c) { return IsUpper(c) || IsLower(c) || IsTitle(c); }
bool IsIdentifierStart(char32_t c) {
  return c == '_' || IsAlpha(c) || Category(c) == UTF8PROC_CATEGORY_NL;
}
bool IsIdentifierPart(char32_t c) {
  const auto k = Category(c);
  return IsIdentifierStart(c) || k == UTF8PROC_CATEGORY_ND || k == UTF8PROC_CATEGORY_MN ||
         k == UTF8PROC_CATEGORY_MC || k == UTF8PROC_CATEGORY_PC;
}

std::string Upper(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) AppendUpper(NextChar(text, &at), &out);
  return out;
}

std::string Lower(std::string_view text) {
  const std::u32string chars = Decode(text);
  std::string out;
  for (size_t i = 0; i < chars.size(); ++i) AppendLower(chars, i, &out);
  return out;
}

std::string TitleCase(std::string_view text) {
  const std::u32string chars = Decode(text);
  std::string out;
  bool inside = false;
  for (size_t i = 0; i < chars.size(); ++i) {
    if (inside) {
      AppendLower(chars, i, &out);
    } else {
      AppendTitle(chars[i], &out);
    }
    inside = IsCased(chars[i]);
  }
  return out;
}

std::string Capitalize(std::string_view text) {
  const std::u32string chars = Decode(text);
  std::string out;
  for (size_t i = 0; i < chars.size(); ++i) {
    if (i == 0) {
      AppendTitle(chars[i], &out);
    } else {
      AppendLower(chars, i, &out);
    }
  }
  return out;
}

std::string SwapCase(std::string_view text) {
  const std::u32string chars = Decode(text);
  std::string out;
  for (size_t i = 0; i < chars.size(); ++i) {
    if (IsUpper(chars[i])) {
      AppendLower(chars, i, &out);
    } else if (IsLower(chars[i])) {
      AppendUpper(chars[i], &out);
    } else {
      AppendChar(chars[i], &out);
    }
  }
  return out;
}

std::string CaseFold(std::string_view text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const char32_t c = NextChar(text, &at);
    utf8proc_int32_t folded[8];
    int boundary = 0;
    const auto n = utf8proc_decompose_char(static_cast<utf8proc_int32_t>(c), folded, 8,
                                           UTF8PROC_CASEFOLD, &boundary);
    if (n <= 0 || n > 8) {
      AppendChar(c, &out);
      continue;
    }
    for (utf8proc_ssize_t i = 0; i < n; ++i) AppendChar(static_cast<char32_t>(folded[i]), &out);
  }
  return out;
}

std::string_view Strip(std::string_view text, Side side, std::optional<std::string_view> chars) {
  const std::u32string set = chars ? Decode(*chars) : std::u32string();
  const auto strips = [&](char32_t c) { return chars ? Contains(set, c) : IsSpace(c); };
  while (side != Side::kRight && !text.empty()) {
    size_t at = 0;
    if (!strips(NextChar(text, &at))) break;
    text.remove_prefix(at);
  }
  while (side != Side::kLeft && !text.empty()) {
    size_t at = text.size();
    if (!strips(PreviousChar(text, &at))) break;
    text = text.substr(0, at);
  }
  return text;
}

std::vector<std::string> SplitSpace(std::string_view text, int64_t max_splits, bool from_right) {
  if (max_splits < 0) max_splits = std::numeric_limits<int64_t>::max();
  std::vector<std::string> out;
  text = Strip(text, Side::kBoth);
  while (!text.empty()) {
    if (max_splits-- == 0) {
      out.emplace_back(text);
      break;
    }
    size_t cut = from_right ? text.size() : 0;
    size_t edge = cut;
    while (from_right ? edge > 0 : edge < text.size()) {
      size_t at = edge;
      const char32_t c = from_right ? PreviousChar(text, &at) : NextChar(text, &at);
      if (IsSpace(c)) break;
      edge = at;
    }
    if (from_right) {
      out.emplace_back(text.substr(edge));
      text = Strip(text.substr(0, edge), Side::kRight);
    } else {
      out.emplace_back(text.substr(0, edge));
      text = Strip(text.substr(edge), Side::kLeft);
    }
  }
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> Split(std::string_view text, std::string_view separator,
                               int64_t max_splits, bool from_right) {
  if (max_splits < 0) max_splits = std::numeric_limits<int64_t>::max();
  std::vector<std::string> out;
  while (max_splits-- > 0) {
    const size_t at = from_right ? text.rfind(separator) : text.find(separator);
    if (at == text.npos) break;
    if (from_right) {
      out.emplace_back(text.substr(at + separator.size()));
      text = text.substr(0, at);
    } else {
      out.emplace_back(text.substr(0, at));
      text = text.substr(at + separator.size());
    }
  }
  out.emplace_back(text);
  if (from_right) std::reverse(out.begin(), out.end());
  return out;
}

std::vector<std::string> SplitLines(std::string_view text, bool keep_ends) {
  std::vector<std::string> out;
  size_t begin = 0;
  for (size_t at = 0; at < text.size();) {
    const size_t before = at;
    const char32_t c = NextChar(text, &at);
    const bool ends = (c >= 0x0A && c <= 0x0D) || (c >= 0x1C && c <= 0x1E) || c == 0x85 ||
                      c == 0x2028 || c == 0x2029;
    if (!ends) continue;
    if (c == '\r' && at < text.size() && text[at] == '\n') ++at;
    out.emplace_back(text.substr(begin, (keep_ends ? at : before) - begin));
    begin = at;
  }
  if (begin < text.size()) out.emplace_back(text.substr(begin));
  return out;
}

std::string Replace(std::string_view text, std::string_view from, std::string_view to,
                    int64_t count) {
  if (count < 0) count = std::numeric_limits<int64_t>::max();
  std::string out;
  if (from.empty()) {  // between all characters
    for (size_t at = 0; count-- > 0;) {
      out += to;
      if (at >= text.size()) return out;
      const size_t before = at;
      NextChar(text, &at);
      out += text.substr(before, at - before);
      if (count == 0) return out += text.substr(at);
    }
    return out += text;
  }
  while (count-- > 0) {
    const size_t at = text.find(from);
    if (at == text.npos) break;
    out += text.substr(0, at);
    out += to;
    text.remove_prefix(at + from.size());
  }
  return out += text;
}

std::string EscapeHtml(std::string_view text) {
  std::string out;
  for (const char c : text) {
    switch (c) {
      case '&':
        out += "&amp;";
        break;
      case '<':
        out += "&lt;";
        break;
      case '>':
        out += "&gt;";
        break;
      case '"':
        out += "&#34;";
        break;
      case '\'':
        out += "&#39;";
        break;
      default:
        out += c;
    }
  }
  return out;
}

}  // namespace inhouse::engine::jinja
