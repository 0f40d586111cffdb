#include "engine/tokenizer/nfc.h"

#include <algorithm>
#include <vector>

#include "base/utf8.h"
#include "engine/tokenizer/code_points.h"
#include "utf8proc.h"

namespace inhouse::engine {
namespace {

// A safe character is a starter that NFC neither changes nor joins to what stands before it: text
// may be cut before it.
constexpr uint8_t kUnsafe = 1;
constexpr uint8_t kUnknown = 2;  // no decomposition, combining class 0

const CodePointTable& NfcTable() {
  static const CodePointTable table = [] {
    std::vector<CodePointTable::Assignment> bits;
    for (const CodePointRange& range : NfcUnsafeRanges()) bits.push_back({range, kUnsafe});
    for (const CodePointRange& range : NfcUnknownRanges()) bits.push_back({range, kUnknown});
    return CodePointTable(bits);
  }();
  return table;
}

int CombiningClass(char32_t c) {
  if (NfcTable()[c] == kUnknown) return 0;
  return utf8proc_get_property(static_cast<utf8proc_int32_t>(c))->combining_class;
}

void AppendDecomposed(char32_t c, std::vector<char32_t>* out) {
  if (NfcTable()[c] == kUnknown) {
    out->push_back(c);
    return;
  }
  utf8proc_int32_t parts[8];  // a canonical decomposition has at most four
  const utf8proc_ssize_t n = utf8proc_decompose_char(
      static_cast<utf8proc_int32_t>(c), parts, std::size(parts),
      static_cast<utf8proc_option_t>(UTF8PROC_DECOMPOSE | UTF8PROC_STABLE), nullptr);
  for (utf8proc_ssize_t i = 0; i < n; ++i) out->push_back(static_cast<char32_t>(parts[i]));
}

// Marks between two starters, ordered by combining class; equal classes keep their order.
void Reorder(std::vector<char32_t>* text) {
  auto begin = text->begin();
  while (begin != text->end()) {
    if (CombiningClass(*begin) == 0) {
      ++begin;
      continue;
    }
    auto end = begin;
    while (end != text->end() && CombiningClass(*end) != 0) ++end;
    std::stable_sort(begin, end,
                     [](char32_t a, char32_t b) { return CombiningClass(a) < CombiningClass(b); });
    begin = end;
  }
}

// The primary composite of two characters, or 0. utf8proc composes a whole buffer only; a buffer of
// two in canonical order is a pair.
char32_t Compose(char32_t a, char32_t b) {
  utf8proc_int32_t pair[3] = {static_cast<utf8proc_int32_t>(a), static_cast<utf8proc_int32_t>(b),
                              0};
  const utf8proc_ssize_t n = utf8proc_normalize_utf32(
      pair, 2, static_cast<utf8proc_option_t>(UTF8PROC_COMPOSE | UTF8PROC_STABLE));
  if (n != 1) return 0;
  const auto composed = static_cast<char32_t>(pair[0]);
  return NfcTable()[composed] == kUnknown ? 0 : composed;
}

// Unicode 15, section 3.11, D117: each character joins the last starter unless something between
// them blocks it.
void ComposeAll(std::vector<char32_t>* text) {
  size_t starter = 0;
  bool has_starter = false;
  int last_class = -1;  // of what was kept after the starter; -1: nothing
  size_t kept = 0;
  for (const char32_t c : std::vector<char32_t>(*text)) {
    const int cc = CombiningClass(c);
    if (has_starter && (last_class < cc)) {
      if (const char32_t composed = Compose((*text)[starter], c); composed != 0) {
        (*text)[starter] = composed;
        continue;
      }
    }
    if (cc == 0) {
      starter = kept;
      has_starter = true;
      last_class = -1;
    } else {
      last_class = cc;
    }
    (*text)[kept++] = c;
  }
  text->resize(kept);
}

// From one safe character up to the next: what stands between is decomposed, ordered and composed.
void AppendNormalized(std::string_view segment, std::string* out) {
  std::vector<char32_t> text;
  for (size_t i = 0; i < segment.size();) {
    const DecodedChar c = DecodeValidUtf8(segment.data() + i);
    AppendDecomposed(c.code_point, &text);
    i += c.size;
  }
  Reorder(&text);
  ComposeAll(&text);
  for (const char32_t c : text) base::AppendUtf8(c, out);
}

}  // namespace

bool IsPlainNfc(std::string_view text) {
  const CodePointTable& table = NfcTable();
  for (size_t i = 0; i < text.size();) {
    if (static_cast<uint8_t>(text[i]) < 0xCC) {  // below U+0300 everything is in NFC
      ++i;
      continue;
    }
    const DecodedChar c = DecodeValidUtf8(text.data() + i);
    if (table[c.code_point] == kUnsafe) return false;
    i += c.size;
  }
  return true;
}

std::string ToNfc(std::string_view text) {
  const CodePointTable& table = NfcTable();
  std::string out;
  out.reserve(text.size());
  size_t copied = 0;     // everything before is in `out`
  size_t last_safe = 0;  // the last safe character at or after `copied`
  for (size_t i = 0; i < text.size();) {
    DecodedChar c = DecodeValidUtf8(text.data() + i);
    if (table[c.code_point] != kUnsafe) {
      last_safe = i;
      i += c.size;
      continue;
    }
    out.append(text.substr(copied, last_safe - copied));
    size_t end = i + c.size;
    while (end < text.size()) {
      c = DecodeValidUtf8(text.data() + end);
      if (table[c.code_point] != kUnsafe) break;
      end += c.size;
    }
    AppendNormalized(text.substr(last_safe, end - last_safe), &out);
    copied = last_safe = i = end;
  }
  out.append(text.substr(copied));
  return out;
}

}  // namespace inhouse::engine
