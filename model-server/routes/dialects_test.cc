// Reasoning, calls and failures in Anthropic's and in OpenAI's newer words; tests/conformance has
// the rest.
#include "model-server/routes/app_fixture.h"

namespace inhouse::model_server {
namespace {

constexpr char kThinks[] = R"("thinking":{"type":"enabled"})";

class DialectsTest : public AppTest {
 protected:
  Reply Messages(const std::string& extra) {
    return Call(
        "POST", "/v1/messages",
        R"({"model":"scripted","max_tokens":50,"messages":[{"role":"user","content":"hi"}],)" +
            extra + "}");
  }
  Reply Respond(const std::string& extra) {
    return Call("POST", "/v1/responses", R"({"model":"scripted","input":"hi")" + extra + "}");
  }
  // The data of named events; each must carry its name.
  static std::vector<json> Named(const std::string& body) {
    std::vector<json> events;
    for (size_t at = 0; at < body.size();) {
      const size_t line = body.find('\n', at);
      const size_t end = body.find("\n\n", at);
      const json data = json::parse(body.substr(line + 7, end - line - 7), nullptr, false);
      EXPECT_EQ("event: " + data.value("type", ""), body.substr(at, line - at));
      events.push_back(data);
      at = end + 2;
    }
    return events;
  }
  static std::vector<std::string> Types(const std::vector<json>& events) {
    std::vector<std::string> types;
    for (const json& event : events) {
      // Text comes token by token.
      const auto type = event["type"].get<std::string>();
      if (types.empty() || types.back() != type) types.push_back(type);
    }
    return types;
  }
};

TEST_F(DialectsTest, MessageOfThinkingTextAndCalls) {
  Start({.answer = "why]so{f 1}{g 2}"});
  const json message = Messages(kThinks).Json();
  ASSERT_EQ(message["content"].size(), 4U) << message.dump();
  EXPECT_EQ(message["content"][0],
            json::parse(R"({"type":"thinking","thinking":"why","signature":""})"));
  EXPECT_EQ(message["content"][1], json::parse(R"({"type":"text","text":"so"})"));
  EXPECT_EQ(message["content"][2]["name"], "f");
  EXPECT_TRUE(message["content"][2]["id"].get<std::string>().starts_with("toolu_"));
  EXPECT_EQ(message["stop_reason"], "tool_use");
  // What the model wrote is no object, as Anthropic's clients expect one.
  EXPECT_EQ(message["content"][3]["input"], json::parse(R"({"arguments":"2"})"));
  EXPECT_EQ(message["usage"]["cache_read_input_tokens"], 1);
}

TEST_F(DialectsTest, EventsOfThinkingTextAndCalls) {
  Start({.answer = "why]so{f 1}"});
  const auto events = Named(Messages(std::string(kThinks) + R"(,"stream":true)").body);
  EXPECT_EQ(Types(events), (std::vector<std::string>{
                               "message_start", "ping",  //
                               "content_block_start", "content_block_delta", "content_block_stop",
                               "content_block_start", "content_block_delta", "content_block_stop",
                               "content_block_start", "content_block_delta", "content_block_stop",
                               "message_delta", "message_stop"}));
  int64_t index = -1;
  for (const json& event : events) {
    if (event["type"] == "content_block_start") ++index;
    if (event.contains("index")) {
      EXPECT_EQ(event["index"], index) << event.dump();
    }
  }
  EXPECT_EQ(events[events.size() - 2]["delta"]["stop_reason"], "tool_use");
}

TEST_F(DialectsTest, ThinkingIsOffUnlessAskedFor) {
  Start();
  EXPECT_EQ(Messages(R"("top_k":5)").status, 200);
  const auto ids = engine_->last_request().prompt_ids;
  const std::string prompt(ids.begin(), ids.end());
  EXPECT_EQ(prompt, "user:hi\nassistant:");
}

TEST_F(DialectsTest, ToolsAndResultsReachTheTemplate) {
  Start();
  const Reply reply =
      Call("POST", "/v1/messages", R"({"model":"scripted","max_tokens":1,"system":"s",
      "messages":[{"role":"user","content":"a"},
                  {"role":"assistant","content":[{"type":"tool_use","id":"t","name":"f","input":{}}]},
                  {"role":"user","content":[{"type":"tool_result","tool_use_id":"t","content":"r",
                                             "is_error":true},
                                            {"type":"text","text":"b"}]},
                  {"role":"assistant","content":"c"}]})");
  ASSERT_EQ(reply.status, 200) << reply.body;
  const auto ids = engine_->last_request().prompt_ids;
  EXPECT_EQ(std::string(ids.begin(), ids.end()),
            "system:s\nuser:a\nassistant:\ntool:Error: r\nuser:b\nassistant:c\nassistant:");
}

TEST_F(DialectsTest, ErrorsInAnthropicsShape) {
  Start({.answer = "abcdef", .fail_after = 3});
  const Reply whole = Messages(R"("top_k":1)");
  EXPECT_EQ(whole.status, 500);
  EXPECT_EQ(whole.Json()["type"], "error");
  EXPECT_EQ(whole.Json()["error"]["type"], "api_error");
  const auto events = Named(Messages(R"("stream":true)").body);
  EXPECT_EQ(events.back()["type"], "error");
  EXPECT_EQ(events.back()["error"]["type"], "api_error");
  const Reply wrong = Call("GET", "/v1/messages");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_EQ(wrong.Json()["error"]["type"], "invalid_request_error");
}

TEST_F(DialectsTest, ResponseOfReasoningTextAndCalls) {
  Start({.answer = "why]so{f 1}"});
  const std::string thinks = R"(,"thinking":{"type":"enabled"})";
  const json response = Respond(thinks).Json();
  ASSERT_EQ(response["output"].size(), 3U) << response.dump();
  EXPECT_EQ(response["output"][0]["content"][0]["text"], "why");
  EXPECT_EQ(response["output"][1]["content"][0]["text"], "so");
  EXPECT_EQ(response["output"][2]["arguments"], "1");
  EXPECT_EQ(response["usage"]["output_tokens_details"]["reasoning_tokens"],
            4);  // with the one that ends it
  const auto events = Named(Respond(thinks + R"(,"stream":true)").body);
  EXPECT_EQ(
      Types(events),
      (std::vector<std::string>{
          "response.created", "response.in_progress",  //
          "response.output_item.added", "response.content_part.added",
          "response.reasoning_text.delta", "response.reasoning_text.done",
          "response.content_part.done", "response.output_item.done",  //
          "response.output_item.added", "response.content_part.added", "response.output_text.delta",
          "response.output_text.done", "response.content_part.done", "response.output_item.done",
          "response.output_item.added", "response.function_call_arguments.delta",
          "response.function_call_arguments.done", "response.output_item.done",
          "response.completed"}));
  json last = events.back()["response"]["output"];
  EXPECT_EQ(last[2]["name"], "f");
  EXPECT_EQ(last[0]["content"], response["output"][0]["content"]);
  for (size_t i = 0; i < events.size(); ++i) EXPECT_EQ(events[i]["sequence_number"], i);
}

TEST_F(DialectsTest, FailedResponse) {
  Start({.answer = "abcdef", .fail_after = 3});
  const auto events = Named(Respond(R"(,"stream":true)").body);
  ASSERT_GT(events.size(), 3U);
  EXPECT_EQ(events[events.size() - 2]["type"], "error");
  EXPECT_EQ(events.back()["type"], "response.failed");
  EXPECT_EQ(events.back()["response"]["status"], "failed");
  EXPECT_EQ(Respond("").status, 500);
}

}  // namespace
}  // namespace inhouse::model_server
