// Tokenizers from GGUF metadata; the conformance tests load real files.
#include "engine/runtime/tokenizer_loader.h"

#include <map>
#include <string>
#include <vector>

#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using Values = std::map<std::string, GgufValue, std::less<>>;
using Strings = std::vector<std::string>;
using Ints = std::vector<int64_t>;

Values SmallVocabulary() {
  return {{"tokenizer.ggml.model", std::string("gpt2")},
          {"tokenizer.ggml.pre", std::string("smollm")},
          {"tokenizer.ggml.tokens", Strings{"<s>", "a", "b", "ab", "1", "\u00FC", "[PAD]"}},
          {"tokenizer.ggml.token_type", Ints{3, 1, 1, 1, 1, 4, 5}},
          {"tokenizer.ggml.merges", Strings{"a b"}},
          {"tokenizer.ggml.bos_token_id", int64_t{0}},
          {"tokenizer.ggml.eos_token_id", int64_t{UINT32_MAX}},
          {"tokenizer.ggml.add_bos_token", true},
          {"tokenizer.chat_template", std::string("t")}};
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const Values& values) {
  INHOUSE_ASSIGN_OR_RETURN(TokenizerSpec spec, TokenizerSpecOf(GgufMetadata("m.gguf", values)));
  return Tokenizer::Create(std::move(spec));
}

std::string ErrorWith(std::string_view key, GgufValue value) {
  Values values = SmallVocabulary();
  values.insert_or_assign(std::string(key), std::move(value));
  const auto tokenizer = Load(values);
  return tokenizer.ok() ? "" : base::Message(tokenizer.status());
}

TEST(TokenizerSpecOf, ControlAndUserDefinedTokensAreAddedTokens) {
  const auto tokenizer = Load(SmallVocabulary());
  ASSERT_TRUE(tokenizer.ok()) << base::Message(tokenizer.status());
  using Ids = std::vector<TokenId>;
  EXPECT_EQ((*tokenizer)->Encode("ab\u00FC<s>11"), (Ids{3, 5, 0, 4, 4}));
  EXPECT_EQ((*tokenizer)->Encode("ab", {.add_special_tokens = true}), (Ids{0, 3}));
  EXPECT_TRUE((*tokenizer)->IsSpecial(0));
  EXPECT_FALSE((*tokenizer)->IsSpecial(5));
  EXPECT_EQ((*tokenizer)->TokenBytes(5), "\u00FC");
  EXPECT_EQ((*tokenizer)->TokenBytes(6), "");  // unused
  EXPECT_EQ((*tokenizer)->eos(), std::nullopt);
  EXPECT_EQ((*tokenizer)->spec().chat_template, "t");
}

TEST(TokenizerSpecOf, OnlyLlama3AddsBosWithoutBeingTold) {
  Values values = SmallVocabulary();
  values.erase("tokenizer.ggml.add_bos_token");
  EXPECT_FALSE((*Load(values))->adds_bos());
  values["tokenizer.ggml.pre"] = std::string("llama-bpe");
  EXPECT_TRUE((*Load(values))->adds_bos());
}

TEST(TokenizerSpecOf, RefusesByName) {
  const auto expect = [](const std::string& message, const char* part) {
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("m.gguf"), std::string::npos) << message;
  };
  expect(ErrorWith("tokenizer.ggml.model", std::string("llama")), "'llama'");
  expect(ErrorWith("tokenizer.ggml.pre", std::string("odd")), "'odd'");
  expect(ErrorWith("tokenizer.ggml.pre", std::string()), "tokenizer.ggml.pre");
  expect(ErrorWith("tokenizer.ggml.tokens", Strings{}), "tokenizer.ggml.tokens");
  expect(ErrorWith("tokenizer.ggml.token_type", Ints{1}), "token_type");
  expect(ErrorWith("tokenizer.ggml.merges", Strings{"ab"}), "merges");
  expect(ErrorWith("tokenizer.ggml.merges", Strings{"a b c"}), "merges");
  expect(ErrorWith("tokenizer.ggml.merges", Strings{"a z"}), "'z'");
  Values values = SmallVocabulary();
  values.erase("tokenizer.ggml.merges");
  expect(base::Message(Load(values).status()), "merges");
  values.erase("tokenizer.ggml.model");
  EXPECT_TRUE(absl::IsNotFound(Load(values).status()));
}

}  // namespace
}  // namespace inhouse::engine
