#include "model-server/api/record.h"

#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "absl/strings/str_replace.h"
#include "base/status.h"
#include "gtest/gtest.h"

namespace inhouse::model_server {
namespace {

AnswerRecord Sample() {
  AnswerRecord record{.id = "cmpl-1", .request_id = "r", .model = "m", .created = 17};
  record.engine = {.version = "1", .commit = "c", .build = "b", .isa = "avx2"};
  record.engine.adapter = {.name = "sql", .path = "/a"};
  record.engine.adapter_sha256 = "cd";
  SequenceRecord sequence;
  engine::GenerateRequest& request = sequence.request;
  request.prompt_ids = {1, 2};
  request.adapter = "sql";
  request.sampling = {.temperature = 0.7F, .top_k = 5, .min_p = 0.1F};
  request.sampling.logit_bias = {{4, -1.5F}};
  request.sampling.seed = ~uint64_t{0};
  request.stop = {"\n\"x\""};
  request.stop_ids = {9};
  request.allowed_ids = {3, 4};
  request.bad_sequences = {{5}, {6, 7}};
  request.thinking_budget = {.tokens = 3, .begin = {1}, .end = {2}};
  request.max_tokens = 33;
  request.skip_special_tokens = false;
  request.logprobs = 2;
  request.grammar = {
      .kind = engine::GrammarSpec::Kind::kSequence,
      .parts = {{.kind = engine::GrammarSpec::Kind::kJsonSchema,
                 .text = "{}",
                 .label = "response_format",
                 .strict = true},
                {.kind = engine::GrammarSpec::Kind::kRepeat,
                 .min = 1,
                 .max = 4,
                 .parts = {{.kind = engine::GrammarSpec::Kind::kText, .text = "é"}}}}};
  request.grammar_after = "</think>";
  request.grammar_opener = "<tool>";
  const float none = std::numeric_limits<float>::quiet_NaN();
  const float never = -std::numeric_limits<float>::infinity();
  sequence.output = {.ids = {3, 4},
                     .text = "é and 好",
                     .logprobs = {{3, -0.1F, {{3, -0.1F}, {8, never}}}, {4, -1e-30F, {}}},
                     .prompt_logprobs = {{1, none, {}}, {2, -3.3F, {}}},
                     .finish_reason = "stop",
                     .stop_string = "\n"};
  record.sequences.push_back(sequence);
  SequenceRecord embedding;
  embedding.request.pooling = engine::Pooling::kLast;
  embedding.output.embedding_sha256 = "ef";
  record.sequences.push_back(embedding);
  return record;
}

TEST(RecordTest, ComesBackAsItWas) {
  const std::string text = RecordJson(Sample());
  const auto record = ParseRecord("x.json", text);
  ASSERT_TRUE(record.ok()) << record.status();
  EXPECT_EQ(RecordJson(*record), text);
  const SequenceRecord& sequence = record->sequences.at(0);
  const engine::GenerateRequest& request = sequence.request;
  EXPECT_EQ(request.sampling.temperature, 0.7F);
  EXPECT_EQ(request.sampling.seed, ~uint64_t{0});
  EXPECT_EQ(request.sampling.logit_bias, Sample().sequences[0].request.sampling.logit_bias);
  EXPECT_EQ(request.bad_sequences, Sample().sequences[0].request.bad_sequences);
  EXPECT_EQ(request.thinking_budget->end, std::vector<engine::TokenId>{2});
  EXPECT_EQ(request.grammar.parts.at(1).parts.at(0).text, "é");
  EXPECT_EQ(request.grammar.parts.at(1).max, 4);
  EXPECT_TRUE(request.grammar.parts.at(0).strict);
  EXPECT_EQ(request.grammar_opener, "<tool>");
  EXPECT_FALSE(request.skip_special_tokens);
  EXPECT_EQ(record->sequences.at(1).request.pooling, engine::Pooling::kLast);
  EXPECT_EQ(record->engine.adapter.path, "/a");
  for (size_t i = 0; i < 2; ++i) {
    EXPECT_EQ(FirstDifference(record->sequences[i].output, Sample().sequences[i].output), "");
  }
}

TEST(RecordTest, NamesTheFirstDifference) {
  const SequenceOutput good = Sample().sequences[0].output;
  const auto difference = [&good](const auto& change) {
    SequenceOutput bad = good;
    change(bad);
    return FirstDifference(bad, good);
  };
  EXPECT_EQ(difference([](auto& o) { o.ids[1] = 5; }), "token 1: 5 now, 4 recorded");
  EXPECT_EQ(difference([](auto& o) { o.ids.pop_back(); }), "token 1: the end now, 4 recorded");
  EXPECT_EQ(difference([](auto& o) { o.text += "!"; }),
            "the tokens are the same, the text differs from byte 10 on");
  EXPECT_EQ(difference([](auto& o) { o.logprobs[1].logprob = -2e-30F; }),
            "log probability of token 1: -2e-30 now, -1e-30 recorded");
  EXPECT_EQ(difference([](auto& o) { o.logprobs[0].top[1].second = -9; }),
            "log probability of token 0: other candidates");
  EXPECT_EQ(difference([](auto& o) { o.prompt_logprobs.pop_back(); }),
            "log probability of prompt token 1: other candidates");
  EXPECT_EQ(difference([](auto& o) { o.finish_reason = "length"; }),
            "finish reason: length '\n' now, stop '\n' recorded");
  EXPECT_EQ(difference([](auto& o) { o.embedding_sha256 = "x"; }), "the embedding differs");
}

TEST(RecordTest, RefusesWhatIsNoRecord) {
  const std::string good = RecordJson(Sample());
  std::string deep =
      "{\"kind\":\"text\",\"text\":\"\",\"label\":\"\",\"strict\":false,\"min\":0,"
      "\"max\":0,\"parts\":[]}";
  for (int i = 0; i < 100; ++i) {
    deep = absl::StrReplaceAll(
        "{\"kind\":\"sequence\",\"text\":\"\",\"label\":\"\",\"strict\":false,\"min\":0,\"max\":0,"
        "\"parts\":[$]}",
        {{"$", deep}});
  }
  for (const auto& [from, to] :
       {std::pair<std::string, std::string>{"\"record\":1", "\"record\":2"},
        {"\"ids\"", "\"idz\""},
        {"\"created\":17", "\"created\":\"x\""},
        {"\"seed\"", "\"sead\""},
        {"\"kind\":\"repeat\"", "\"kind\":\"what\""},
        {"\"grammar\":", "\"grammar\":" + deep + ",\"old\":"},
        {"[[3,", "[[\"3\","},
        {"}", ""}}) {
    const std::string bad = absl::StrReplaceAll(good, {{from, to}});
    ASSERT_NE(bad, good) << from;
    const absl::Status status = ParseRecord("x.json", bad).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument) << from;
    EXPECT_NE(base::Message(status).find("x.json"), std::string::npos);
  }
}

}  // namespace
}  // namespace inhouse::model_server
