#include "engine/tokenizer/nfc.h"

#include <string>

#include "engine/tokenizer/code_points.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(ToNfc, ComposesOrdersAndBlocks) {
  EXPECT_EQ(ToNfc("Zu\u0308rich"), "Z\u00FCrich");
  EXPECT_EQ(ToNfc("a\u0323\u0302"), "\u1EAD");                    // two marks, both join
  EXPECT_EQ(ToNfc("a\u0302\u0323"), "\u1EAD");                    // in the other order
  EXPECT_EQ(ToNfc("a\u0332\u0301\u0301"), "\u00E1\u0332\u0301");  // the second acute is blocked
  EXPECT_EQ(ToNfc("\u1112\u1161\u11AB"), "\uD55C");               // Hangul
  EXPECT_EQ(ToNfc("\u212B\u2126\uF900"), "\u00C5\u03A9\u8C48");   // singletons
  EXPECT_EQ(ToNfc("\u0958"), "\u0915\u093C");                     // composition exclusion
  EXPECT_EQ(ToNfc("\u0301a"), "\u0301a");                         // a mark without a base
  EXPECT_EQ(ToNfc("\u0344"), "\u0308\u0301");
  EXPECT_EQ(ToNfc(""), "");
}

TEST(ToNfc, LeavesAloneWhatTheReferenceDoesNotKnow) {
  // U+1DFA (Unicode 14) has a combining class now; tokenizers 0.23 takes it for a starter.
  EXPECT_EQ(ToNfc("a\u0345\u1DFA"), "a\u0345\u1DFA");
  EXPECT_EQ(ToNfc("\U00011935\U00011930"), "\U00011935\U00011930");
}

TEST(ToNfc, IsIdempotentAndAgreesWithTheQuickCheckOnEveryCodePoint) {
  for (char32_t c = 1; c <= kCodePointMax; ++c) {
    if (c >= 0xD800 && c <= 0xDFFF) continue;
    std::string text = "x";
    if (c < 0x80) {
      text += static_cast<char>(c);
    } else if (c < 0x800) {
      text += {static_cast<char>(0xC0 | c >> 6), static_cast<char>(0x80 | (c & 0x3F))};
    } else if (c < 0x10000) {
      text += {static_cast<char>(0xE0 | c >> 12), static_cast<char>(0x80 | (c >> 6 & 0x3F)),
               static_cast<char>(0x80 | (c & 0x3F))};
    } else {
      text += {static_cast<char>(0xF0 | c >> 18), static_cast<char>(0x80 | (c >> 12 & 0x3F)),
               static_cast<char>(0x80 | (c >> 6 & 0x3F)), static_cast<char>(0x80 | (c & 0x3F))};
    }
    const std::string normalized = ToNfc(text);
    ASSERT_EQ(ToNfc(normalized), normalized) << std::hex << static_cast<uint32_t>(c);
    if (IsPlainNfc(text)) {
      ASSERT_EQ(normalized, text) << std::hex << static_cast<uint32_t>(c);
    }
  }
}

TEST(ToNfc, TakesAMillionMarks) {
  std::string text = "a";
  for (int i = 0; i < 500000; ++i) text += i % 2 == 0 ? "\u0301" : "\u0323";
  EXPECT_EQ(ToNfc(text).size(), size_t{3 + 499999 * 2});
}

}  // namespace
}  // namespace inhouse::engine
