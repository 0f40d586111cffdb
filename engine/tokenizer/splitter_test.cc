// The fast splitters against PCRE2 on random text, and PCRE2 against what Oniguruma does.
#include "engine/tokenizer/splitter.h"

#include <random>
#include <string>
#include <vector>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/tokenizer/code_points.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::vector<std::string> Cut(const Splitter& splitter, std::string_view text) {
  std::vector<std::string> out;
  size_t done = 0;
  for (Match match; splitter.Find(text, done, &match); done = match.end) {
    if (match.begin > done)
      out.emplace_back("gap:" + std::string(text.substr(done, match.begin - done)));
    out.emplace_back(text.substr(match.begin, match.end - match.begin));
  }
  if (done < text.size()) out.emplace_back("gap:" + std::string(text.substr(done)));
  return out;
}

std::vector<std::string> CutByRegex(const std::string& pattern, std::string_view text) {
  auto splitter = MakeRegexSplitter(pattern);
  EXPECT_TRUE(splitter.ok()) << base::Message(splitter.status());
  return splitter.ok() ? Cut(**splitter, text) : std::vector<std::string>();
}

// Few distinct characters, so that every alternative and every border between them comes up.
std::string RandomText(std::mt19937* random) {
  static constexpr char32_t kChars[] = {
      U'a',    U'Z',    U's',   U'T',     U'r',    U'e',    U'l',   U'v',   U'm',    U'd',
      U'\'',   U' ',    U' ',   U'\t',    U'\n',   U'\r',   U'0',   U'7',   U'.',    U'$',
      U'+',    U'_',    0x85,   0xA0,     0x3000,  0x180E,  0x200B, 0x17F,  0x212A,  0xE9,
      0x301,   0x4E2D,  0x3042, 0x30FB,   0x3099,  0xAC00,  0xFF01, 0x2019, 0x660,   0xB2,
      0x2167,  0x1F600, 0x200D, 0xFE0F,   0x1D7CE, 0x11DE0, 0x897,  0x1C89, 0x105C0, 0x10D40,
      0x1171E, 0x378,   0xE000, 0x10FFFF, 0x01,    0x7F,    0xAD,   0x2028, 0x20AC,  0x0903};
  std::uniform_int_distribution<size_t> pick(0, std::size(kChars) - 1);
  std::uniform_int_distribution<char32_t> any(1, kCodePointMax);
  std::uniform_int_distribution<int> length(0, 24), percent(0, 99);
  std::string text;
  for (int i = length(*random); i > 0; --i) {
    char32_t c = kChars[pick(*random)];
    if (percent(*random) < 10) c = any(*random);
    if (c >= 0xD800 && c <= 0xDFFF) c = U'x';
    const int repeat = percent(*random) < 15 ? 3 : 1;
    for (int k = 0; k < repeat; ++k) base::AppendUtf8(c, &text);
  }
  return text;
}

class KnownPattern : public ::testing::TestWithParam<std::string> {};

TEST_P(KnownPattern, EqualsPcre2OnRandomText) {
  auto fast = MakeWordSplitter(GetParam());
  if (fast == nullptr) fast = MakeClassSplitter(GetParam());
  ASSERT_NE(fast, nullptr);
  auto regex = MakeRegexSplitter(GetParam());
  ASSERT_TRUE(regex.ok()) << base::Message(regex.status());
  std::mt19937 random(1);
  for (int i = 0; i < 40000; ++i) {
    const std::string text = RandomText(&random);
    ASSERT_EQ(Cut(*fast, text), Cut(**regex, text)) << "text '" << text << "'";
  }
}

INSTANTIATE_TEST_SUITE_P(
    All, KnownPattern,
    ::testing::Values(std::string(kGpt2Pattern), std::string(kQwen2Pattern),
                      std::string(kLlama3Pattern), std::string(kDeepSeekV3Pattern), "\\p{N}{1,3}",
                      "\\p{N}", "[\r\n]", "[\\r\\n]", "\\s?\\p{L}+", " ?\\p{P}+",
                      "\\s?[!-/:-~\\x{3000}-\\x{3002}]+", "\\s+$",
                      "[\\x{4E00}-\\x{9FA5}\\x{3040}-\\x{309F}\\x{30A0}-\\x{30FF}]+",
                      "[\\s\\x{180E}]"));

TEST(MakeWordSplitter, TakesLineEndsWrittenEitherWay) {
  std::string pattern(kDeepSeekV3Pattern);
  for (size_t at; (at = pattern.find("\\r\\n")) != std::string::npos;)
    pattern.replace(at, 4, "\r\n");
  EXPECT_NE(MakeWordSplitter(pattern), nullptr);
  EXPECT_EQ(MakeWordSplitter(pattern + "x"), nullptr);
}

TEST(MakeClassSplitter, LeavesOtherSyntaxToPcre2) {
  for (const char* pattern :
       {"", "a+", "[^a]+", "[[:alpha:]]", "[a-z&&[^b]]", "\\w+", "[\\w]", "[a", "[a]*", "[a]{2,3}",
        "[a]+b", "\\p{Han}+", "[z-a]", "[\\x{110000}]", "[]"}) {
    EXPECT_EQ(MakeClassSplitter(pattern), nullptr) << pattern;
  }
}

TEST(MakeRegexSplitter, FollowsOniguruma) {
  using Pieces = std::vector<std::string>;
  // Results of Hugging Face tokenizers 0.23.
  EXPECT_EQ(CutByRegex("x*", "abxxc"), (Pieces{"", "gap:a", "", "gap:b", "xx", "gap:c", ""}));
  EXPECT_EQ(CutByRegex("a$", "xa\na  \n"), (Pieces{"gap:x", "a", "gap:\na  \n"}));
  EXPECT_EQ(CutByRegex("\\s+$", "a \n"), (Pieces{"gap:a", " \n"}));
  EXPECT_EQ(CutByRegex("\\h+", "xfF0 g"), (Pieces{"gap:x", "fF0", "gap: g"}));
  EXPECT_EQ(CutByRegex("\\s", "\xE1\xA0\x8E"), (Pieces{"gap:\xE1\xA0\x8E"}));  // U+180E
  // Letters and digits that PCRE2's own tables lack: U+1C89 (Lu), U+10D40 (Nd).
  EXPECT_EQ(CutByRegex("\\p{Lu}", "\xE1\xB2\x89"), (Pieces{"\xE1\xB2\x89"}));
  EXPECT_EQ(CutByRegex("[\\d]", "\xF0\x90\xB5\x80"), (Pieces{"\xF0\x90\xB5\x80"}));
  EXPECT_EQ(CutByRegex("\\P{L}", "\xE1\xB2\x89."), (Pieces{"gap:\xE1\xB2\x89", "."}));
}

TEST(MakeRegexSplitter, RefusesWhatItWouldReadOtherwise) {
  EXPECT_FALSE(MakeRegexSplitter("[a-z&&[^b]]").ok());
  EXPECT_FALSE(MakeRegexSplitter("(unclosed").ok());
  EXPECT_FALSE(MakeRegexSplitter("a\xFF").ok());
  EXPECT_FALSE(MakeRegexSplitter(std::string(70000, 'a')).ok());
}

TEST(MakeRegexSplitter, GivesUpOnAPatternThatExplodes) {
  const auto splitter = MakeRegexSplitter("(a+)+b");
  ASSERT_TRUE(splitter.ok());
  Match match;
  EXPECT_FALSE((*splitter)->Find(std::string(200, 'a'), 0, &match));
}

TEST(DigitSplitter, CutsEachDigitOrTheRun) {
  using Pieces = std::vector<std::string>;
  EXPECT_EQ(Cut(*MakeDigitSplitter(true), "a12b"), (Pieces{"gap:a", "1", "2", "gap:b"}));
  EXPECT_EQ(Cut(*MakeDigitSplitter(false), "a12b"), (Pieces{"gap:a", "12", "gap:b"}));
}

}  // namespace
}  // namespace inhouse::engine
