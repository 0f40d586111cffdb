#include "model-server/api/answer.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "model-server/api/error.h"
#include "model-server/api/json_writer.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {
namespace {

using nlohmann::json;

const AnswerHead kHead = {.id = "chatcmpl-1", .created = 5, .model = "m\"x", .fingerprint = "fp_1"};

json ParseEvent(const std::string& event) {
  EXPECT_TRUE(event.starts_with("data: ") && event.ends_with("\n\n")) << event;
  EXPECT_EQ(event.find('\n'), event.size() - 2);  // an event is one line
  return json::parse(event.substr(6));
}

TEST(JsonWriter, EscapesEveryByteThatNeedsIt) {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all.push_back(static_cast<char>(c));
  all += "模型 \xF0\x9F\x98\x80 \xE2\x80\xA8";
  std::string out;
  AppendJsonString(all, &out);
  EXPECT_EQ(json::parse(out).get<std::string>(), all);
  EXPECT_EQ(out.find('\n'), std::string::npos);
}

TEST(JsonWriter, NumbersReadBackEqual) {
  for (const float value : {0.0F, -0.1F, -1e-7F, 3.4e38F, -12.345678F}) {
    EXPECT_EQ(json::parse(JsonWriter().Float(value).Take()).get<float>(), value);
  }
  EXPECT_EQ(JsonWriter().Float(std::numeric_limits<float>::infinity()).Take(), "null");
  EXPECT_EQ(JsonWriter().Int(std::numeric_limits<int64_t>::min()).Take(), "-9223372036854775808");
}

TEST(ChatAnswer, Whole) {
  ChatChoice choice;
  choice.content = "hi\n";
  choice.reasoning = "hm";
  choice.finish_reason = "stop";
  choice.logprobs = {{.token = "h\xF0\x9F",
                      .logprob = -0.5F,
                      .top = {{"a", -std::numeric_limits<float>::infinity()}}}};
  const json answer = json::parse(ChatAnswer(kHead, {choice}, {10, 4, 3, 1}));
  EXPECT_EQ(answer["object"], "chat.completion");
  EXPECT_EQ(answer["model"], "m\"x");
  const json& first = answer["choices"][0];
  EXPECT_EQ(first["message"]["content"], "hi\n");
  EXPECT_EQ(first["message"]["reasoning_content"], "hm");
  EXPECT_FALSE(first["message"].contains("tool_calls"));
  EXPECT_EQ(first["logprobs"]["content"][0]["bytes"], json({0x68, 0xF0, 0x9F}));
  EXPECT_EQ(first["logprobs"]["content"][0]["token"], "h\xEF\xBF\xBD");
  EXPECT_EQ(first["logprobs"]["content"][0]["top_logprobs"][0]["logprob"], -9999.0);
  EXPECT_EQ(answer["usage"]["total_tokens"], 13);
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 4);
  EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 1);
  EXPECT_EQ(answer["usage"]["prompt_cache_miss_tokens"], 6);
}

TEST(ChatAnswer, ToolCallsLeaveContentNull) {
  ChatChoice choice;
  choice.tool_calls = {{.id = "call_1", .name = "f", .arguments = "{\"a\":1}"}};
  choice.finish_reason = "tool_calls";
  const json answer = json::parse(ChatAnswer(kHead, {choice}, {}));
  const json& message = answer["choices"][0]["message"];
  EXPECT_TRUE(message["content"].is_null());
  EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "{\"a\":1}");
  EXPECT_FALSE(message["tool_calls"][0].contains("index"));
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
}

TEST(ChatChunk, Forms) {
  json chunk = ParseEvent(ChatChunk(kHead, {.index = 1, .first = true}, true));
  EXPECT_EQ(chunk["choices"][0]["delta"].dump(), R"({"content":"","role":"assistant"})");
  EXPECT_TRUE(chunk["usage"].is_null() && chunk.contains("usage"));
  EXPECT_TRUE(chunk["choices"][0]["finish_reason"].is_null());
  EXPECT_EQ(chunk["choices"][0]["index"], 1);
  chunk = ParseEvent(ChatChunk(kHead, {.reasoning = "r"}, false));
  EXPECT_EQ(chunk["choices"][0]["delta"].dump(), R"({"reasoning_content":"r"})");
  EXPECT_FALSE(chunk.contains("usage"));
  const std::vector<engine::ToolCall> calls = {{.id = "c", .name = "f", .arguments = "{}"}};
  chunk = ParseEvent(ChatChunk(kHead, {.tool_calls = &calls, .first_tool_index = 2}, false));
  EXPECT_EQ(chunk["choices"][0]["delta"]["tool_calls"][0]["index"], 2);
  chunk = ParseEvent(ChatChunk(kHead, {.finish_reason = "stop"}, false));
  EXPECT_EQ(chunk["choices"][0]["delta"].dump(), "{}");
  EXPECT_EQ(chunk["choices"][0]["finish_reason"], "stop");
  chunk = ParseEvent(UsageChunk(kHead, kChatChunkObject, {1, 0, 2, 0}));
  EXPECT_TRUE(chunk["choices"].empty());
  EXPECT_EQ(chunk["usage"]["completion_tokens"], 2);
}

TEST(TextAnswer, LogprobsOfAnEcho) {
  TextChoice choice;
  choice.text = "<s>é!";
  choice.finish_reason = "length";
  const float none = std::numeric_limits<float>::quiet_NaN();
  choice.logprobs = {{.token = "<s>", .in_text = false, .logprob = none},
                     {.token = "\xC3", .logprob = -1, .top = {{"\xC3", -1}, {"\xC4", -2}}},
                     {.token = "\xA9", .logprob = -2, .top = {{"x", -1}}},
                     {.token = "!", .logprob = -3, .top = {}}};
  const json answer = json::parse(TextAnswer(kHead, {choice}, {}));
  const json& logprobs = answer["choices"][0]["logprobs"];
  EXPECT_EQ(logprobs["tokens"], json({"<s>", "bytes:\\xc3", "bytes:\\xa9", "!"}));
  EXPECT_EQ(logprobs["token_logprobs"], json({nullptr, -1.0, -2.0, -3.0}));
  EXPECT_TRUE(logprobs["top_logprobs"][0].is_null());
  EXPECT_EQ(logprobs["top_logprobs"][1].dump(), R"({"bytes:\\xc3":-1,"bytes:\\xc4":-2})");
  EXPECT_EQ(logprobs["top_logprobs"][2].size(), 2u);  // the token itself is always there
  EXPECT_EQ(logprobs["text_offset"], json({0, 0, 1, 1}));
}

TEST(Error, Body) {
  ApiError error = InvalidRequest("temperature", "invalid_value", "bad \xff value");
  const json body = json::parse(ErrorJson(error));
  EXPECT_EQ(body["error"]["param"], "temperature");
  EXPECT_EQ(body["error"]["type"], "invalid_request_error");
  EXPECT_TRUE(json::parse(ErrorJson(Unavailable("x", 1)))["error"]["param"].is_null());
  EXPECT_EQ(ErrorResponse(Overloaded("x", 7)).headers.Find("retry-after"), "7");
  EXPECT_EQ(ErrorResponse(Overloaded("x", 121)).headers.Find("x-should-retry"), "false");
  EXPECT_EQ(ErrorResponse(Overloaded("x", 120)).headers.Find("x-should-retry"), "");
  EXPECT_EQ(ModelNotFound("m").status, 404);
  EXPECT_EQ(FromStatus(absl::ResourceExhaustedError("full")).status, 429);
  EXPECT_EQ(FromStatus(absl::UnavailableError("draining")).status, 503);
  EXPECT_EQ(FromStatus(absl::InternalError("x")).status, 500);
}

}  // namespace
}  // namespace inhouse::model_server
