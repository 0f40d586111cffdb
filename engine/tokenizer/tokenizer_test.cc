// Small hand-made tokenizers; the ids are those of Hugging Face tokenizers 0.23.
#include "engine/tokenizer/tokenizer.h"

#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/tokenizer/byte_level.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using Ids = std::vector<TokenId>;

// Ids 0-255: the bytes; then "ab", "abc", "\u0120a", "\u00E9" (two bytes).
TokenizerSpec ByteSpec() {
  TokenizerSpec spec;
  spec.path = "test";
  for (int byte = 0; byte < 256; ++byte) {
    std::string token;
    base::AppendUtf8(ByteLevelChar(static_cast<unsigned char>(byte)), &token);
    spec.vocab.push_back(token);
  }
  spec.vocab.insert(spec.vocab.end(), {"ab", "abc", "\u0120a", "\u00C3\u00A9"});
  spec.merges = {{"a", "b"}, {"ab", "c"}, {"\u0120", "a"}, {"\u00C3", "\u00A9"}};
  spec.pre_tokenizer = {{.kind = PreTokenizerStep::Kind::kByteLevel, .use_regex = true}};
  return spec;
}

std::unique_ptr<Tokenizer> Make(TokenizerSpec spec) {
  auto made = Tokenizer::Create(std::move(spec));
  EXPECT_TRUE(made.ok()) << base::Message(made.status());
  return made.ok() ? *std::move(made) : nullptr;
}

std::string ErrorOf(TokenizerSpec spec) {
  auto made = Tokenizer::Create(std::move(spec));
  return made.ok() ? "" : base::Message(made.status());
}

TEST(Tokenizer, EncodesAndDecodes) {
  const auto tokenizer = Make(ByteSpec());
  EXPECT_EQ(tokenizer->Encode("abc ab a\u00E9"), (Ids{257, ' ', 256, 258, 259}));
  EXPECT_EQ(tokenizer->Decode(Ids{257, ' ', 256, 258, 259}), "abc ab a\u00E9");
  EXPECT_EQ(tokenizer->Encode(""), Ids{});
  EXPECT_EQ(tokenizer->vocab_size(), 260);
  EXPECT_EQ(tokenizer->TokenBytes(258), " a");
  EXPECT_EQ(tokenizer->TokenBytes(260), "");
  EXPECT_EQ(tokenizer->TokenBytes(-1), "");
  EXPECT_EQ(tokenizer->TokenToId(" a"), 258);
  EXPECT_EQ(tokenizer->TokenToId("zz"), std::nullopt);
  EXPECT_TRUE(tokenizer->spec().vocab.empty());
}

TEST(Tokenizer, ReadsInvalidUtf8AsReplacementCharacters) {
  const auto tokenizer = Make(ByteSpec());
  // A maximal subpart of three bytes, then a byte that begins nothing.
  EXPECT_EQ(tokenizer->Encode("a\xF0\x9F\x98\xFF"), tokenizer->Encode("a\uFFFD\uFFFD"));
  EXPECT_EQ(tokenizer->Decode(Ids{0xF0, 0x9F, 0x98, 'x', 0xE9}), "\uFFFDx\uFFFD");
}

TEST(Tokenizer, WholePieceNeedsTheMergesUnlessTheyAreIgnored) {
  TokenizerSpec spec = ByteSpec();
  spec.vocab.push_back("xyz");  // no rule leads there
  EXPECT_EQ(Make(spec)->Encode("xyz"), (Ids{'x', 'y', 'z'}));
  spec.ignore_merges = true;
  EXPECT_EQ(Make(spec)->Encode("xyz xyz"), (Ids{260, ' ', 'x', 'y', 'z'}));
}

TokenizerSpec WithAdded(std::vector<AddedToken> tokens) {
  TokenizerSpec spec = ByteSpec();
  spec.added_tokens = std::move(tokens);
  return spec;
}

TEST(AddedTokens, LeftmostLongestInBothPasses) {
  const auto tokenizer = Make(WithAdded({{.id = 260, .content = "bc"},
                                         {.id = 261, .content = "abcabc"},
                                         {.id = 262, .content = "ab", .normalized = true}}));
  EXPECT_EQ(tokenizer->Encode("abcabcababc"), (Ids{261, 262, 'a', 260}));
}

TEST(AddedTokens, StripAndSingleWord) {
  const auto strip =
      Make(WithAdded({{.id = 260, .content = "<x>", .lstrip = true, .rstrip = true}}));
  EXPECT_EQ(strip->Encode("a  <x>  <x> b"), (Ids{'a', 260, 260, 'b'}));
  const auto word = Make(WithAdded({{.id = 260, .content = "c", .single_word = true}}));
  EXPECT_EQ(word->Encode("c-ac c"), (Ids{260, '-', 'a', 'c', ' ', 260}));
}

TEST(AddedTokens, MatchTheirLiteralTextAndDecodeToIt) {
  const auto tokenizer = Make(WithAdded(
      {{.id = 260, .content = "\u00FC"}, {.id = 261, .content = "<s>", .special = true}}));
  EXPECT_EQ(tokenizer->Encode("F\u00FChrer<s>"), (Ids{'F', 260, 'h', 'r', 'e', 'r', 261}));
  EXPECT_EQ(tokenizer->Decode(Ids{'F', 260, 261}), "F\u00FC<s>");
  EXPECT_EQ(tokenizer->Decode(Ids{'F', 260, 261}, true), "F\u00FC");
  EXPECT_EQ(tokenizer->TokenToId("<s>"), 261);
  EXPECT_TRUE(tokenizer->IsSpecial(261));
  EXPECT_FALSE(tokenizer->IsSpecial(260));
  EXPECT_FALSE(tokenizer->IsSpecial(1000));
}

TEST(AddedTokens, StayTextWithoutParseSpecial) {
  const auto tokenizer = Make(WithAdded({{.id = 260, .content = "<s>", .special = true}}));
  EXPECT_EQ(tokenizer->Encode("<s>", {.parse_special = false}), (Ids{'<', 's', '>'}));
}

TEST(AddedTokens, NormalizedOnesMatchInNormalizedText) {
  TokenizerSpec spec = WithAdded({{.id = 260, .content = "e\u0301x", .normalized = true},
                                  {.id = 261, .content = "a\u0301", .normalized = false}});
  spec.nfc = true;
  const auto tokenizer = Make(spec);
  EXPECT_EQ(tokenizer->Encode("\u00E9x e\u0301x"), (Ids{260, ' ', 260}));
  EXPECT_EQ(tokenizer->Encode("a\u0301\u00E1"), (Ids{261, 0xC3, 0xA1}));
}

TEST(Tokenizer, PutsTheConfiguredIdsAround) {
  TokenizerSpec spec = WithAdded({{.id = 260, .content = "<s>", .special = true}});
  spec.prefix_ids = {260};
  spec.suffix_ids = {257, 256};
  spec.bos_id = 260;
  const auto tokenizer = Make(spec);
  EXPECT_EQ(tokenizer->Encode("a", {.add_special_tokens = true}), (Ids{260, 'a', 257, 256}));
  EXPECT_EQ(tokenizer->Encode("a"), (Ids{'a'}));
  EXPECT_TRUE(tokenizer->adds_bos());
  EXPECT_EQ(tokenizer->bos(), 260);
  EXPECT_EQ(tokenizer->eos(), std::nullopt);
}

TEST(PreTokenizer, PrefixSpaceBehaviorsAndDigits) {
  using Step = PreTokenizerStep;
  TokenizerSpec spec = ByteSpec();
  spec.pre_tokenizer = {
      {.kind = Step::Kind::kDigits, .individual_digits = true},
      {.kind = Step::Kind::kByteLevel, .use_regex = true, .add_prefix_space = true}};
  // Every piece that Digits made gets its space, as in the reference.
  EXPECT_EQ(Make(spec)->Encode("a1 2"), (Ids{258, ' ', '1', ' ', ' ', '2'}));
  spec.pre_tokenizer = {{.behavior = Step::Behavior::kRemoved, .pattern = "b|x"},
                        {.kind = Step::Kind::kByteLevel}};
  EXPECT_EQ(Make(spec)->Encode("abxab"), (Ids{'a', 'a'}));
  spec.pre_tokenizer[0].invert = true;
  EXPECT_EQ(Make(spec)->Encode("abxab"), (Ids{'b', 'x', 'b'}));
  spec.pre_tokenizer[0] = {.behavior = Step::Behavior::kMergedWithPrevious, .pattern = "b"};
  EXPECT_EQ(Make(spec)->Encode("abcab"), (Ids{256, 'c', 256}));
  spec.pre_tokenizer[0] = {.behavior = Step::Behavior::kMergedWithNext, .pattern = "a"};
  EXPECT_EQ(Make(spec)->Encode("caabb"), (Ids{'c', 'a', 256, 'b'}));
  spec.pre_tokenizer[0] = {.behavior = Step::Behavior::kContiguous, .pattern = "a|b"};
  EXPECT_EQ(Make(spec)->Encode("abcab"), (Ids{256, 'c', 256}));
}

TEST(Create, RefusesWhatCannotWork) {
  TokenizerSpec spec = ByteSpec();
  spec.merges.push_back({"a", "\u0142\u0142"});
  EXPECT_NE(ErrorOf(spec).find("merges: rule 4"), std::string::npos) << ErrorOf(spec);
  spec = ByteSpec();
  spec.merges.push_back({"b", "a"});
  EXPECT_NE(ErrorOf(spec).find("'ba'"), std::string::npos) << ErrorOf(spec);
  spec = ByteSpec();
  spec.merges.push_back({"", "a"});
  EXPECT_NE(ErrorOf(spec), "");
  EXPECT_NE(ErrorOf({}).find("vocab"), std::string::npos);
  EXPECT_NE(ErrorOf(WithAdded({{.id = 2000000000, .content = "x"}})).find("2000000000"),
            std::string::npos);
  EXPECT_NE(ErrorOf(WithAdded({{.id = -3, .content = "x"}})), "");
  EXPECT_NE(ErrorOf(WithAdded({{.id = 260, .content = "x"}, {.id = 260, .content = "y"}})), "");
  EXPECT_NE(ErrorOf(WithAdded({{.id = 260, .content = std::string(5000, 'x')}})), "");
  EXPECT_NE(ErrorOf(WithAdded({{.id = 260, .content = "\xFF"}})), "");
  spec = ByteSpec();
  spec.bos_id = 9999;
  EXPECT_NE(ErrorOf(spec).find("bos_token"), std::string::npos);
  spec = ByteSpec();
  spec.pre_tokenizer = {{.pattern = "("}};
  EXPECT_NE(ErrorOf(spec).find("pre_tokenizer"), std::string::npos);
}

TEST(Tokenizer, ManyThreadsAgree) {
  const auto tokenizer = Make(ByteSpec());
  const std::string text = "abc ab a\u00E9 abcabc aab";
  const Ids expected = Make(ByteSpec())->Encode(text);
  std::vector<std::thread> threads;
  std::vector<Ids> results(4);
  for (size_t i = 0; i < results.size(); ++i) {
    threads.emplace_back([&, i] {
      for (int k = 0; k < 200; ++k) results[i] = tokenizer->Encode(text);
    });
  }
  for (std::thread& thread : threads) thread.join();
  for (const Ids& result : results) EXPECT_EQ(result, expected);
}

TEST(StreamDecoder, HoldsBackPartsOfACharacter) {
  const auto tokenizer = Make(WithAdded({{.id = 260, .content = "<s>", .special = true}}));
  StreamDecoder stream(*tokenizer, /*skip_special_tokens=*/true);
  EXPECT_EQ(stream.Push('a'), "a");
  EXPECT_EQ(stream.Push(0xF0), "");
  EXPECT_EQ(stream.Push(0x9F), "");
  EXPECT_EQ(stream.Push(260), "");  // skipped, and it does not flush
  EXPECT_EQ(stream.Push(0x98), "");
  EXPECT_EQ(stream.Push(0x80), "\U0001F600");
  EXPECT_EQ(stream.Push(0xE4), "");
  EXPECT_EQ(stream.Push('x'), "\uFFFDx");
  EXPECT_EQ(stream.Push(0x80), "\uFFFD");
  EXPECT_EQ(stream.Push(0xE4), "");
  EXPECT_EQ(stream.Push(5000), "");
  EXPECT_EQ(stream.Finish(), "\uFFFD");
  EXPECT_EQ(stream.Finish(), "");
}

}  // namespace
}  // namespace inhouse::engine
