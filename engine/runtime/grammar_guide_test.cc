#include "engine/runtime/grammar_guide.h"

#include <string>

#include "engine/runtime/grammar_cache.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr TokenId kThink = 95, kThinkEnd = 96, kBreaks = 97, kEnd = 98;

// Printable ASCII, one token each, and what reasoning models add.
std::unique_ptr<Tokenizer> AsciiTokenizer() {
  TokenizerSpec spec;
  spec.path = "test";
  for (char c = ' '; c <= '~'; ++c) spec.vocab.push_back(c == ' ' ? "\u0120" : std::string(1, c));
  for (const char* text : {"<think>", "</think>", "\u010A\u010A", "<end>"})
    spec.vocab.push_back(text);
  for (const TokenId id : {kThink, kThinkEnd}) {
    spec.added_tokens.push_back({.id = id, .content = spec.vocab[static_cast<size_t>(id)]});
  }
  spec.added_tokens.push_back({.id = kEnd, .content = "<end>", .special = true});
  spec.eos_id = kEnd;
  auto tokenizer = Tokenizer::Create(std::move(spec));
  EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
  return *std::move(tokenizer);
}

TokenId Id(char c) { return c - ' '; }

bool Has(const TokenMask& mask, TokenId id) {
  return (mask[static_cast<size_t>(id) / 64] >> (id % 64) & 1) != 0;
}

class GrammarGuideTest : public testing::Test {
 protected:
  GrammarGuide Guide(const std::string& after, const std::string& opener = "") {
    request_.grammar = {.kind = GrammarSpec::Kind::kRegex, .text = "ab+|<think>"};
    request_.grammar_after = after;
    request_.grammar_opener = opener;
    auto grammar = cache_.Get(request_.grammar);
    EXPECT_TRUE(grammar.ok()) << grammar.status();
    return {*grammar, request_, *tokenizer_};
  }

  const std::unique_ptr<Tokenizer> tokenizer_ = AsciiTokenizer();
  GrammarCache cache_{tokenizer_.get()};
  GenerateRequest request_;
  TokenMask mask_;
};

TEST_F(GrammarGuideTest, FromTheBeginning) {
  GrammarGuide guide = Guide("");
  EXPECT_FALSE(guide.is_free());
  ASSERT_TRUE(guide.FillMask(&mask_).ok());
  EXPECT_TRUE(Has(mask_, Id('a')));
  EXPECT_FALSE(Has(mask_, Id('b')));
  EXPECT_FALSE(Has(mask_, kThink));  // its text is allowed, the token is not
  EXPECT_FALSE(Has(mask_, kEnd));
  guide.Accept(Id('a'));
  EXPECT_FALSE(guide.may_end());
  guide.Accept(Id('b'));
  EXPECT_TRUE(guide.may_end());
  EXPECT_FALSE(guide.must_end());
}

TEST_F(GrammarGuideTest, BehindTheReasoning) {
  GrammarGuide guide = Guide("</think>");
  EXPECT_TRUE(guide.is_free());
  for (const char c : std::string("x</thin y")) guide.Accept(Id(c));
  EXPECT_TRUE(guide.is_free());
  guide.Accept(kThinkEnd);
  EXPECT_FALSE(guide.is_free());
  ASSERT_TRUE(guide.FillMask(&mask_).ok());
  EXPECT_TRUE(Has(mask_, kBreaks));
  guide.Accept(kBreaks);
  ASSERT_TRUE(guide.FillMask(&mask_).ok());
  EXPECT_FALSE(Has(mask_, kBreaks));
  EXPECT_TRUE(Has(mask_, Id('a')));
  GrammarGuide spelled = Guide("</think>");
  for (const char c : std::string("x</think>")) spelled.Accept(Id(c));
  EXPECT_FALSE(spelled.is_free());
}

TEST_F(GrammarGuideTest, TheModelMayBeginToReason) {
  GrammarGuide guide = Guide("</think>", "<think>");
  EXPECT_FALSE(guide.is_free());
  ASSERT_TRUE(guide.FillMask(&mask_).ok());
  EXPECT_TRUE(Has(mask_, kThink));
  EXPECT_TRUE(Has(mask_, Id('a')));
  GrammarGuide answers = guide;
  guide.Accept(kThink);
  EXPECT_TRUE(guide.is_free());
  answers.Accept(Id('a'));
  ASSERT_TRUE(answers.FillMask(&mask_).ok());
  EXPECT_FALSE(Has(mask_, kThink));
}

TEST_F(GrammarGuideTest, CacheKeepsWhatIsUsed) {
  const auto get = [](GrammarCache* cache, const std::string& text) {
    return *cache->Get({.kind = GrammarSpec::Kind::kText, .text = text});
  };
  const auto first = get(&cache_, "a");
  EXPECT_EQ(get(&cache_, "a"), first);
  EXPECT_NE(get(&cache_, "b"), first);
  EXPECT_EQ(cache_.size(), 2U);
  GrammarCache small(tokenizer_.get(), 1);
  for (const char* text : {"a", "b", "c"}) get(&small, text);
  EXPECT_EQ(small.size(), 1U);
  GrammarCache none(nullptr);
  EXPECT_FALSE(none.Get({.kind = GrammarSpec::Kind::kText, .text = "a"}).ok());
}

}  // namespace
}  // namespace inhouse::engine
