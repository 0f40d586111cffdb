// tokenizer.json and the files beside it: what is read, and what is refused by name.
#include "engine/tokenizer/hf_json.h"

#include <filesystem>
#include <fstream>
#include <string>

#include "base/status.h"
#include "engine/tokenizer/tokenizer.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

Json BaseFile() {
  return Json::parse(R"({
    "version": "1.0",
    "added_tokens": [{"id": 5, "content": "<s>", "special": true}],
    "normalizer": {"type": "Sequence", "normalizers": []},
    "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": false, "use_regex": true},
    "post_processor": {"type": "ByteLevel"},
    "decoder": {"type": "ByteLevel"},
    "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3, "\u0120": 4},
              "merges": ["#version: 0.2", "a b"]}})");
}

class ReadTokenizer : public ::testing::Test {
 protected:
  void SetUp() override {
    directory_ = std::filesystem::path(::testing::TempDir()) /
                 ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(directory_);
    std::filesystem::create_directories(directory_);
  }
  void TearDown() override { std::filesystem::remove_all(directory_); }

  void Write(const char* name, const std::string& content) {
    std::ofstream(directory_ / name, std::ios::binary) << content;
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load() {
    INHOUSE_ASSIGN_OR_RETURN(TokenizerSpec spec, ReadTokenizerJson(directory_.string()));
    return Tokenizer::Create(std::move(spec));
  }
  absl::StatusOr<std::unique_ptr<Tokenizer>> Load(const Json& file) {
    Write("tokenizer.json", file.dump());
    return Load();
  }
  std::vector<TokenId> Ids(const Json& file, std::string_view text) {
    const auto tokenizer = Load(file);
    EXPECT_TRUE(tokenizer.ok()) << base::Message(tokenizer.status());
    if (!tokenizer.ok()) return {};
    return (*tokenizer)->Encode(text, {.add_special_tokens = true});
  }
  // The file with one place changed is refused with a message that contains `part`.
  void ExpectRefused(const char* pointer, const Json& value, const std::string& part) {
    Json file = BaseFile();
    file[Json::json_pointer(pointer)] = value;
    const auto tokenizer = Load(file);
    ASSERT_FALSE(tokenizer.ok()) << pointer << " = " << value;
    const std::string message = base::Message(tokenizer.status());
    EXPECT_NE(message.find(part), std::string::npos) << message;
    EXPECT_NE(message.find("tokenizer.json"), std::string::npos) << message;
  }

  std::filesystem::path directory_;
};

using IdList = std::vector<TokenId>;

TEST_F(ReadTokenizer, MergesAsStringsAndAsPairs) {
  EXPECT_EQ(Ids(BaseFile(), "ab<s>c"), (IdList{2, 5, 3}));
  Json file = BaseFile();
  file["model"]["merges"] = Json::parse(R"([["a", "b"]])");
  EXPECT_EQ(Ids(file, "abb"), (IdList{2, 1}));
}

TEST_F(ReadTokenizer, TheLastOfTwoEqualRulesCounts) {
  Json file = BaseFile();
  file["model"]["vocab"]["bb"] = 5;
  file["added_tokens"] = Json::array();
  file["model"]["merges"] = Json::parse(R"(["a b", "b b", "a b"])");
  EXPECT_EQ(Ids(file, "abb"), (IdList{0, 5}));
}

TEST_F(ReadTokenizer, UnknownBytes) {
  Json file = BaseFile();
  EXPECT_EQ(Ids(file, "axbyyb"), (IdList{2, 1}));
  file["model"]["vocab"]["<unk>"] = 6;
  file["model"]["unk_token"] = "<unk>";
  EXPECT_EQ(Ids(file, "axbyyb"), (IdList{0, 6, 1, 6, 6, 1}));
  file["model"]["fuse_unk"] = true;
  EXPECT_EQ(Ids(file, "axbyyb"), (IdList{0, 6, 1, 6, 1}));
}

Json Template() {
  return Json::parse(R"({"type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "e", "type_id": 0}}],
    "special_tokens": {"<s>": {"id": "<s>", "ids": [5]}, "e": {"id": "e", "ids": [3, 4]}}})");
}

TEST_F(ReadTokenizer, TemplateAloneAndInASequence) {
  Json file = BaseFile();
  file["post_processor"] = Template();
  EXPECT_EQ(Ids(file, "ab"), (IdList{5, 2, 3, 4}));
  EXPECT_EQ(Ids(file, ""), (IdList{5, 3, 4}));
  file["post_processor"] = {{"type", "Sequence"},
                            {"processors", {{{"type", "ByteLevel"}}, Template()}}};
  EXPECT_EQ(Ids(file, "ab"), (IdList{5, 2, 3, 4}));
  file["post_processor"] =
      Json::parse(R"({"type": "RobertaProcessing", "cls": ["<s>", 5], "sep": ["c", 3]})");
  EXPECT_EQ(Ids(file, "ab"), (IdList{5, 2, 3}));
}

TEST_F(ReadTokenizer, ConfigAddsBosOnce) {
  Write("tokenizer_config.json", R"({"add_bos_token": true, "add_eos_token": true,
      "bos_token": {"__type": "AddedToken", "content": "<s>"}, "eos_token": "c"})");
  EXPECT_EQ(Ids(BaseFile(), "ab"), (IdList{5, 2, 3}));
  Json file = BaseFile();
  file["post_processor"] = Template();
  EXPECT_EQ(Ids(file, "ab"), (IdList{5, 2, 3, 4, 3}));
}

TEST_F(ReadTokenizer, ConfigTakesBosAwayOnlyForLlamaClasses) {
  Json file = BaseFile();
  file["post_processor"] = Template();
  Write("tokenizer_config.json", R"({"add_bos_token": false, "bos_token": "<s>"})");
  EXPECT_EQ(Ids(file, "ab"), (IdList{5, 2, 3, 4}));
  Write("tokenizer_config.json",
        R"({"add_bos_token": false, "bos_token": "<s>", "tokenizer_class": "LlamaTokenizerFast"})");
  EXPECT_EQ(Ids(file, "ab"), (IdList{2, 3, 4}));
}

TEST_F(ReadTokenizer, ChatTemplateAndSpecialTokensMap) {
  Write("tokenizer.json", BaseFile().dump());
  Write("tokenizer_config.json", R"({"chat_template": [{"name": "tool_use", "template": "t"},
      {"name": "default", "template": "d"}]})");
  Write("special_tokens_map.json", R"({"bos_token": {"content": "<s>"}, "eos_token": "c"})");
  auto spec = ReadTokenizerJson(directory_.string());
  ASSERT_TRUE(spec.ok()) << base::Message(spec.status());
  EXPECT_EQ(spec->chat_template, "d");
  EXPECT_EQ(spec->bos_id, 5);
  EXPECT_EQ(spec->eos_id, 3);
  Write("chat_template.jinja", "file");
  EXPECT_EQ(ReadTokenizerJson(directory_.string())->chat_template, "file");
}

TEST_F(ReadTokenizer, NamesWhatItDoesNotRead) {
  ExpectRefused("/model/type", "Unigram", "Unigram");
  ExpectRefused("/model/type", "WordPiece", "model.type");
  ExpectRefused("/model/continuing_subword_prefix", "##", "continuing_subword_prefix");
  ExpectRefused("/model/dropout", 0.1, "dropout");
  ExpectRefused("/model/byte_fallback", true, "byte_fallback");
  ExpectRefused("/normalizer", Json{{"type", "Lowercase"}}, "Lowercase");
  ExpectRefused("/pre_tokenizer", Json{{"type", "Metaspace"}}, "Metaspace");
  ExpectRefused("/pre_tokenizer", nullptr, "ByteLevel");
  ExpectRefused("/post_processor", Json{{"type", "Strange"}}, "Strange");
}

TEST_F(ReadTokenizer, RefusesDamagedModels) {
  ExpectRefused("/model", nullptr, "model");
  ExpectRefused("/model/vocab", Json::object(), "model.vocab");
  ExpectRefused("/model/vocab", Json::array(), "model.vocab");
  ExpectRefused("/model/vocab/a", 2, "an id of its own");
  ExpectRefused("/model/vocab/a", -1, "model.vocab");
  ExpectRefused("/model/vocab/a", 2147483648u, "2147483648");
  ExpectRefused("/model/vocab/a", 4000000000000000000u, "an id from 0");
  ExpectRefused("/model/vocab/a", 1.5, "1.5");
  ExpectRefused("/model/merges", nullptr, "model.merges");
  ExpectRefused("/model/merges", Json{"a z"}, "'z'");
  ExpectRefused("/model/merges", Json{"b a"}, "'ba'");
  ExpectRefused("/model/merges", Json{"a b c"}, "rule 0");
  ExpectRefused("/model/merges", Json{"ab"}, "rule 0");
  ExpectRefused("/model/merges", Json::parse(R"([["a"]])"), "rule 0");
  ExpectRefused("/model/merges", Json{17}, "rule 0");
  ExpectRefused("/model/unk_token", "<q>", "unk_token");
}

TEST_F(ReadTokenizer, RefusesDamagedPipelines) {
  const auto split = [](const char* text) {
    return Json{{"type", "Sequence"},
                {"pretokenizers", {Json::parse(text), {{"type", "ByteLevel"}}}}};
  };
  ExpectRefused("/pre_tokenizer", split(R"({"type": "Split", "behavior": "Isolated"})"), "pattern");
  ExpectRefused("/pre_tokenizer",
                split(R"({"type": "Split", "pattern": {"Regex": "(a"}, "behavior": "Isolated"})"),
                "(a");
  ExpectRefused("/pre_tokenizer",
                split(R"({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Odd"})"), "Odd");
  ExpectRefused("/pre_tokenizer",
                Json::parse(R"({"type": "Sequence", "pretokenizers": [{"type": "ByteLevel"},
                    {"type": "Digits", "individual_digits": true}]})"),
                "nothing after ByteLevel");
  Json bad = Template();
  bad["special_tokens"].erase("e");
  ExpectRefused("/post_processor", bad, "special_tokens");
  bad = Template();
  bad["single"].erase(1);
  ExpectRefused("/post_processor", bad, "sequence A");
  bad = Template();
  bad["special_tokens"]["e"]["ids"] = {99999};
  ExpectRefused("/post_processor", bad, "99999");
}

TEST_F(ReadTokenizer, RefusesConflictingAddedTokens) {
  const auto token = [](int64_t id, const char* content) {
    return Json{{"id", id}, {"content", content}, {"special", true}};
  };
  ExpectRefused("/added_tokens", Json::array({token(3, "<x>")}), "'c' has it too");
  ExpectRefused("/added_tokens", Json::array({token(9, "c")}), "expected 3");
  ExpectRefused("/added_tokens", Json::array({token(9, "<x>"), token(9, "<y>")}),
                "'<x>' has it too");
  ExpectRefused("/added_tokens", Json::array({token(9, "<x>"), token(10, "<x>")}), "expected 9");
  ExpectRefused("/added_tokens", Json::array({token(int64_t{1} << 31, "<x>")}), "2147483648");
  ExpectRefused("/added_tokens", Json::array({Json{{"id", 9}}}), "content");
  ExpectRefused("/added_tokens", Json{{"id", 9}}, "an array");
}

TEST_F(ReadTokenizer, RefusesWhatIsNoJson) {
  EXPECT_FALSE(Load().ok());  // no file
  for (const std::string& content :
       {std::string(), std::string("{"), std::string("[]"), std::string("{\"model\": \"\xFF\"}"),
        std::string(1 << 20, '['), std::string(100, '{') + "\"a\""}) {
    Write("tokenizer.json", content);
    const auto tokenizer = Load();
    ASSERT_FALSE(tokenizer.ok());
    EXPECT_NE(base::Message(tokenizer.status()).find("tokenizer.json"), std::string::npos);
  }
}

TEST(SetGgufPreTokenizer, KnowsTheFamiliesAndNamesThem) {
  for (const char* name : {"deepseek-llm", "deepseek-coder", "deepseek-v3", "joyai-llm", "qwen2",
                           "deepseek-r1-qwen", "llama-bpe", "smollm", "gpt-2"}) {
    TokenizerSpec spec;
    EXPECT_TRUE(SetGgufPreTokenizer(name, &spec).ok()) << name;
    EXPECT_EQ(spec.pre_tokenizer.back().kind, PreTokenizerStep::Kind::kByteLevel);
  }
  TokenizerSpec spec;
  const std::string message = base::Message(SetGgufPreTokenizer("odd", &spec));
  EXPECT_NE(message.find("'odd'"), std::string::npos);
  EXPECT_NE(message.find("deepseek-v3"), std::string::npos);
}

}  // namespace
}  // namespace inhouse::engine
