#include "base/utf8.h"

#include <algorithm>

namespace inhouse::base {
namespace {

constexpr char32_t kReplacement = 0xFFFD;

uint8_t Byte(std::string_view text, size_t i) { return static_cast<uint8_t>(text[i]); }

// The second byte of these leads has a narrower range, which excludes overlong forms and
// surrogates.
uint8_t SecondMin(uint8_t lead) { return lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80; }
uint8_t SecondMax(uint8_t lead) { return lead == 0xED ? 0x9F : lead == 0xF4 ? 0x8F : 0xBF; }

}  // namespace

Utf8Step DecodeUtf8(std::string_view text) {
  const uint8_t lead = Byte(text, 0);
  if (lead < 0x80) return {lead, 1, true, false};
  uint8_t size;
  char32_t code_point;
  if (lead >= 0xC2 && lead <= 0xDF) {
    size = 2;
    code_point = lead & 0x1FU;
  } else if (lead >= 0xE0 && lead <= 0xEF) {
    size = 3;
    code_point = lead & 0x0FU;
  } else if (lead >= 0xF0 && lead <= 0xF4) {
    size = 4;
    code_point = lead & 0x07U;
  } else {
    return {kReplacement, 1, false, false};
  }
  for (uint8_t i = 1; i < size; ++i) {
    if (i >= text.size()) return {kReplacement, i, false, true};
    const uint8_t byte = Byte(text, i);
    const uint8_t low = i == 1 ? SecondMin(lead) : 0x80;
    const uint8_t high = i == 1 ? SecondMax(lead) : 0xBF;
    if (byte < low || byte > high) return {kReplacement, i, false, false};
    code_point = code_point << 6 | (byte & 0x3FU);
  }
  return {code_point, size, true, false};
}

bool IsValidUtf8(std::string_view text) {
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (!step.valid) return false;
    text.remove_prefix(step.size);
  }
  return true;
}

std::string ReplaceInvalidUtf8(std::string_view text) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Utf8Step step = DecodeUtf8(text);
    if (step.valid) {
      out.append(text.substr(0, step.size));
    } else {
      AppendUtf8(kReplacement, &out);
    }
    text.remove_prefix(step.size);
  }
  return out;
}

size_t IncompleteUtf8Suffix(std::string_view text) {
  for (size_t back = 1; back <= std::min<size_t>(3, text.size()); ++back) {
    const std::string_view tail = text.substr(text.size() - back);
    if ((Byte(tail, 0) & 0xC0) == 0x80) continue;  // a continuation byte: the lead is further back
    const Utf8Step step = DecodeUtf8(tail);
    return step.truncated ? back : 0;
  }
  return 0;
}

void AppendUtf8(char32_t c, std::string* out) {
  auto put = [out](char32_t byte) { out->push_back(static_cast<char>(byte)); };
  if (c < 0x80) {
    put(c);
  } else if (c < 0x800) {
    put(0xC0 | c >> 6);
    put(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    put(0xE0 | c >> 12);
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  } else {
    put(0xF0 | c >> 18);
    put(0x80 | (c >> 12 & 0x3F));
    put(0x80 | (c >> 6 & 0x3F));
    put(0x80 | (c & 0x3F));
  }
}

}  // namespace inhouse::base
