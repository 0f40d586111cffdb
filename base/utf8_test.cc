#include "base/utf8.h"

#include <string>

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

// The examples of Unicode 15, tables 3-8 to 3-11 (what Python's errors="replace" gives).
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r = "\xEF\xBF\xBD";
  EXPECT_EQ(ReplaceInvalidUtf8("\xC0\xAF\xE0\x80\xBF\xF0\x81\x82\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xED\xA0\x80\xED\xBF\xBF\xED\xAF\x41"),
            r + r + r + r + r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("\xE1\x80\xE2\xF0\x91\x92\xF1\xBF\x41"), r + r + r + r + "A");
  EXPECT_EQ(ReplaceInvalidUtf8("a\xF4\x90\x80\x80z"), "a" + r + r + r + r + "z");
}

TEST(Utf8Test, ValidatesWholeTexts) {
  EXPECT_TRUE(IsValidUtf8(""));
  EXPECT_TRUE(IsValidUtf8("a\xC2\x80\xE0\xA0\x80\xF4\x8F\xBF\xBF"));
  EXPECT_FALSE(IsValidUtf8("\xED\xA0\x80"));
  EXPECT_FALSE(IsValidUtf8("\xF5\x80\x80\x80"));
  EXPECT_FALSE(IsValidUtf8("\xE4\xBD"));
}

TEST(Utf8Test, FindsIncompleteSuffix) {
  EXPECT_EQ(IncompleteUtf8Suffix("abc"), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE4"), 1U);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE4\xBD"), 2U);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xF0\x9F\x98"), 3U);
  EXPECT_EQ(IncompleteUtf8Suffix("a\xE4\xBD\xA0"), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("\x80\x80"), 0U);
  EXPECT_EQ(IncompleteUtf8Suffix("\xE0\x80"), 0U);
}

TEST(Utf8Test, EncodesWhatItDecodes) {
  for (const char32_t c :
       {U'\x7F', U'\x80', U'\x7FF', U'\x800', U'\xFFFF', U'\x10000', U'\x10FFFF'}) {
    std::string text;
    AppendUtf8(c, &text);
    const Utf8Step step = DecodeUtf8(text);
    EXPECT_TRUE(step.valid);
    EXPECT_EQ(step.code_point, c);
    EXPECT_EQ(step.size, text.size());
  }
}

}  // namespace
}  // namespace inhouse::base
