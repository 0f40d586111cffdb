#include <gtest/gtest.h>

#include "model-server/api/chat_request.h"
#include "model-server/api/completion_request.h"
#include "model-server/api/json_limits.h"

namespace inhouse::model_server {
namespace {

ModelBounds Bounds() {
  ModelBounds bounds;
  bounds.sampling.temperature = 0.6F;
  bounds.sampling.top_p = 0.95F;
  bounds.vocab_size = 1000;
  return bounds;
}

std::optional<ApiError> Chat(const std::string& text, ChatRequest* out) {
  Json body;
  if (auto error = ParseBody(text, {}, &body)) return error;
  return ReadChatRequest(body, Bounds(), out);
}

std::optional<ApiError> Text(const std::string& text, CompletionRequest* out) {
  Json body;
  if (auto error = ParseBody(text, {}, &body)) return error;
  return ReadCompletionRequest(body, Bounds(), out);
}

// The request with `extra` members; returns the param that is complained about, "" if none.
std::string ChatParam(const std::string& extra) {
  ChatRequest request;
  const auto error =
      Chat(R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + extra + "}", &request);
  if (!error) return "";
  EXPECT_EQ(error->status, 400);
  EXPECT_EQ(error->type, "invalid_request_error");
  EXPECT_FALSE(error->code.empty());
  EXPECT_NE(error->message.find(error->param.substr(0, 4)), std::string::npos) << error->message;
  return error->param;
}

std::string TextParam(const std::string& extra) {
  CompletionRequest request;
  const auto error = Text(R"({"model":"m","prompt":"hi")" + extra + "}", &request);
  return error ? error->param : "";
}

TEST(ChatRequest, Everything) {
  ChatRequest request;
  const auto error = Chat(
      R"({"model":"m","messages":[
        {"role":"developer","content":"be brief"},
        {"role":"user","content":[{"type":"text","text":"a"},{"type":"text","text":"b"}],"name":"joe"},
        {"role":"assistant","content":null,"reasoning_content":"hm","tool_calls":[
           {"id":"c1","type":"function","function":{"name":"f","arguments":"{\"x\":1}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"42"}],
      "temperature":0,"top_p":0.5,"top_k":40,"min_p":0.1,"n":2,"stop":["x","y"],"seed":-7,
      "presence_penalty":-2,"frequency_penalty":2,"repetition_penalty":1.1,"logit_bias":{"5":-100,"999":3},
      "max_tokens":5,"max_completion_tokens":7,"min_tokens":1,"stream":true,
      "stream_options":{"include_usage":true,"include_obfuscation":false},
      "logprobs":true,"top_logprobs":20,"tools":[{"type":"function","function":{"name":"f","parameters":{"b":1,"a":2}}}],
      "tool_choice":"auto","parallel_tool_calls":false,"response_format":{"type":"text"},
      "chat_template_kwargs":{"thinking":true,"messages":"no"},"user":"u","metadata":{},"store":true,
      "some_unknown_field":[1,{"deep":{}}]})",
      &request);
  ASSERT_FALSE(error) << error->message;
  EXPECT_EQ(request.messages.size(), 4u);
  EXPECT_EQ(request.messages[1].content, "a\nb");
  EXPECT_EQ(request.messages[1].name, "joe");
  EXPECT_EQ(request.messages[2].reasoning, "hm");
  EXPECT_EQ(request.messages[2].tool_calls[0].arguments, R"({"x":1})");
  EXPECT_EQ(request.messages[3].tool_call_id, "c1");
  EXPECT_EQ(request.params.sampling.temperature, 0);
  EXPECT_EQ(request.params.sampling.top_k, 40);
  EXPECT_EQ(request.params.sampling.seed, static_cast<uint64_t>(-7));
  EXPECT_EQ(request.params.sampling.logit_bias.size(), 2u);
  EXPECT_EQ(request.params.max_tokens, 7);
  EXPECT_EQ(request.params.stop, (std::vector<std::string>{"x", "y"}));
  EXPECT_TRUE(request.params.stream && request.params.include_usage);
  EXPECT_TRUE(request.logprobs);
  EXPECT_EQ(request.top_logprobs, 20);
  EXPECT_FALSE(request.parallel_tool_calls);
  EXPECT_EQ(request.options.tools[0]["function"]["parameters"].dump(), R"({"b":1,"a":2})");
  EXPECT_EQ(request.options.variables.dump(), R"({"thinking":true})");
}

TEST(ChatRequest, DefaultsAreTheModels) {
  ChatRequest request;
  ASSERT_FALSE(Chat(R"({"model":"m","messages":[{"role":"user","content":""}],"temperature":null})",
                    &request));
  EXPECT_FLOAT_EQ(request.params.sampling.temperature, 0.6F);
  EXPECT_FLOAT_EQ(request.params.sampling.top_p, 0.95F);
  EXPECT_FALSE(request.params.max_tokens);
  EXPECT_TRUE(request.options.add_generation_prompt);
  EXPECT_TRUE(request.options.tools.is_null());
}

TEST(ChatRequest, EveryRangeNamesItsParameter) {
  for (const char* name :
       {"temperature", "top_p", "min_p", "presence_penalty", "frequency_penalty", "n", "max_tokens",
        "max_completion_tokens", "top_logprobs", "seed", "top_k", "repetition_penalty"}) {
    EXPECT_EQ(ChatParam(std::string(",\"") + name + "\":\"a\""), name);
    EXPECT_EQ(ChatParam(std::string(",\"") + name + "\":1e300"), name);
    EXPECT_EQ(ChatParam(std::string(",\"") + name + "\":-1e300"), name);
    EXPECT_EQ(ChatParam(std::string(",\"") + name + "\":null"), "");
  }
  EXPECT_EQ(ChatParam(",\"temperature\":-1"), "temperature");
  EXPECT_EQ(ChatParam(",\"temperature\":2.01"), "temperature");
  EXPECT_EQ(ChatParam(",\"temperature\":2"), "");
  EXPECT_EQ(ChatParam(",\"temperature\":true"), "temperature");
  EXPECT_EQ(ChatParam(",\"top_p\":0"), "top_p");
  EXPECT_EQ(ChatParam(",\"top_p\":1.0"), "");
  EXPECT_EQ(ChatParam(",\"max_tokens\":0"), "max_tokens");
  EXPECT_EQ(ChatParam(",\"max_tokens\":1.5"), "max_tokens");
  EXPECT_EQ(ChatParam(",\"max_tokens\":9223372036854775807"), "");
  EXPECT_EQ(ChatParam(",\"n\":1000000"), "n");
  EXPECT_EQ(ChatParam(",\"n\":0"), "n");
  EXPECT_EQ(ChatParam(",\"seed\":9223372036854775807"), "");
  EXPECT_EQ(ChatParam(",\"seed\":-9223372036854775808"), "");
  EXPECT_EQ(ChatParam(",\"logprobs\":3"), "logprobs");
  EXPECT_EQ(ChatParam(",\"top_logprobs\":2"), "top_logprobs");
  EXPECT_EQ(ChatParam(",\"logprobs\":true,\"top_logprobs\":21"), "top_logprobs");
  EXPECT_EQ(ChatParam(",\"stop\":\"\""), "stop");
  EXPECT_EQ(ChatParam(",\"stop\":[\"a\",\"\"]"), "stop[1]");
  EXPECT_EQ(ChatParam(",\"stop\":[\"a\",3]"), "stop[1]");
  EXPECT_EQ(ChatParam(",\"stop\":{}"), "stop");
  EXPECT_EQ(ChatParam(",\"stop\":[]"), "");
  EXPECT_EQ(ChatParam(",\"logit_bias\":{\"1000\":1}"), "logit_bias");
  EXPECT_EQ(ChatParam(",\"logit_bias\":{\"x\":1}"), "logit_bias");
  EXPECT_EQ(ChatParam(",\"logit_bias\":{\"1\":101}"), "logit_bias");
  EXPECT_EQ(ChatParam(",\"logit_bias\":[]"), "logit_bias");
  EXPECT_EQ(ChatParam(",\"stream\":1"), "stream");
  EXPECT_EQ(ChatParam(",\"stream_options\":{}"), "stream_options");
  EXPECT_EQ(ChatParam(",\"reasoning_effort\":\"huge\""), "reasoning_effort");
}

TEST(ChatRequest, RefusesWhatItCannotDo) {
  EXPECT_EQ(ChatParam(",\"chat_template\":\"{{x}}\""), "chat_template");
  EXPECT_EQ(ChatParam(",\"response_format\":{\"type\":\"xml\"}"), "response_format.type");
  EXPECT_EQ(ChatParam(",\"response_format\":3"), "response_format");
  EXPECT_EQ(ChatParam(",\"tool_choice\":\"required\""), "tool_choice");
  EXPECT_EQ(ChatParam(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\"}}],"
                      "\"tool_choice\":{\"type\":\"function\",\"function\":{\"name\":\"g\"}}"),
            "tool_choice.function.name");
  EXPECT_EQ(ChatParam(",\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"a\\nb\"}}]"),
            "tools[0].function.name");
  EXPECT_EQ(ChatParam(",\"tools\":[{\"type\":\"function\"}]"), "tools[0].function");
  EXPECT_EQ(ChatParam(",\"tools\":[{\"type\":\"retrieval\"}]"), "tools[0].type");
  EXPECT_EQ(ChatParam(",\"tools\":[7]"), "tools[0]");
  EXPECT_EQ(ChatParam(",\"modalities\":[\"text\",\"audio\"]"), "modalities");
  EXPECT_EQ(ChatParam(",\"structured_outputs\":{\"structural_tag\":{}}"),
            "structured_outputs.structural_tag");
  EXPECT_EQ(ChatParam(",\"guided_choice\":[]"), "guided_choice");
  EXPECT_EQ(ChatParam(",\"guided_choice\":[\"a\",1]"), "guided_choice[1]");
  EXPECT_EQ(ChatParam(",\"guided_regex\":1"), "guided_regex");
  EXPECT_EQ(ChatParam(",\"guided_regex\":\"a\",\"guided_json\":{}"), "guided_regex");
  EXPECT_EQ(ChatParam(",\"response_format\":{\"type\":\"json_schema\"}"),
            "response_format.json_schema");
  EXPECT_EQ(ChatParam(",\"response_format\":{\"type\":\"json_schema\",\"json_schema\":{}}"),
            "response_format.json_schema.name");
}

TEST(ChatRequest, Grammars) {
  using Kind = engine::GrammarSpec::Kind;
  const auto grammar = [](const std::string& members) {
    ChatRequest chat;
    EXPECT_FALSE(
        Chat(R"({"model":"m","messages":[{"role":"user","content":"x"}],)" + members + "}", &chat));
    return chat.params.grammar;
  };
  EXPECT_TRUE(grammar(R"("response_format":{"type":"text"})").empty());
  EXPECT_EQ(grammar(R"("response_format":{"type":"json_object"})").kind, Kind::kJsonObject);
  const auto schema = grammar(R"("response_format":{"type":"json_schema","json_schema":
      {"name":"n","strict":true,"schema":{"type":"object","properties":{"b":{},"a":{}}}}})");
  EXPECT_EQ(schema.kind, Kind::kJsonSchema);
  EXPECT_TRUE(schema.strict);
  EXPECT_EQ(schema.text, R"({"type":"object","properties":{"b":{},"a":{}}})");
  EXPECT_EQ(schema.label, "response_format.json_schema.schema");
  EXPECT_EQ(grammar(R"("structured_outputs":{"regex":"a+","json":null})").text, "a+");
  EXPECT_EQ(grammar(R"("structured_outputs":{"json":"{\"type\":\"null\"}"})").text,
            R"({"type":"null"})");
  EXPECT_EQ(grammar(R"("guided_choice":["a","b"])").parts.size(), 2U);
  EXPECT_EQ(grammar(R"("guided_grammar":"root ::= \"a\"")").kind, Kind::kEbnf);
  EXPECT_EQ(grammar(R"("structured_outputs":{"json_object":true})").kind, Kind::kJsonObject);
}

TEST(ChatRequest, ToolChoice) {
  const std::string tools =
      R"({"model":"m","messages":[{"role":"user","content":"x"}],"tools":[
      {"type":"function","function":{"name":"f"}},{"type":"function","function":{"name":"g"}}],"tool_choice":)";
  ChatRequest required;
  ASSERT_FALSE(Chat(tools + "\"required\"}", &required));
  EXPECT_EQ(required.tool_choice.forced.size(), 2U);
  ChatRequest named;
  ASSERT_FALSE(Chat(tools + "{\"type\":\"function\",\"function\":{\"name\":\"g\"}}}", &named));
  EXPECT_EQ(named.tool_choice.forced.size(), 1U);
  EXPECT_TRUE(named.tool_choice.one_call);
  EXPECT_EQ(named.options.tools.size(), 2U);
  ChatRequest none;
  ASSERT_FALSE(Chat(tools + "\"none\"}", &none));
  EXPECT_TRUE(none.options.tools.is_null());
  ChatRequest allowed;
  ASSERT_FALSE(Chat(tools + R"({"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[
      {"type":"function","function":{"name":"g"}}]}}})",
                    &allowed));
  ASSERT_EQ(allowed.options.tools.size(), 1u);
  EXPECT_EQ(allowed.options.tools[0]["function"]["name"], "g");
}

std::string MessageParam(const std::string& messages) {
  ChatRequest request;
  const auto error = Chat(R"({"model":"m","messages":)" + messages + "}", &request);
  return error ? error->param : "";
}

TEST(ChatRequest, MessagesNameTheirPlace) {
  EXPECT_EQ(MessageParam("[]"), "messages");
  EXPECT_EQ(MessageParam("\"hi\""), "messages");
  EXPECT_EQ(MessageParam("null"), "messages");
  EXPECT_EQ(MessageParam("[3]"), "messages[0]");
  EXPECT_EQ(MessageParam("[{}]"), "messages[0].role");
  EXPECT_EQ(MessageParam(R"([{"role":"king","content":"x"}])"), "messages[0].role");
  EXPECT_EQ(MessageParam(R"([{"role":"user"}])"), "messages[0].content");
  EXPECT_EQ(MessageParam(R"([{"role":"user","content":7}])"), "messages[0].content");
  EXPECT_EQ(MessageParam(R"([{"role":"assistant"}])"), "messages[0].content");
  EXPECT_EQ(
      MessageParam(R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"x"}}]}])"),
      "messages[0].content[0].type");
  EXPECT_EQ(
      MessageParam(R"([{"role":"user","content":[{"type":"input_audio","input_audio":{}}]}])"),
      "messages[0].content[0].type");
  EXPECT_EQ(MessageParam(R"([{"role":"user","content":[{"type":"text"}]}])"),
            "messages[0].content[0].text");
  EXPECT_EQ(MessageParam(R"([{"role":"assistant","tool_calls":[{}]}])"),
            "messages[0].tool_calls[0].function");
  EXPECT_EQ(MessageParam(R"([{"role":"user","content":"x","prefix":true}])"), "messages[0].prefix");
}

TEST(ChatRequest, Continuation) {
  ChatRequest request;
  ASSERT_FALSE(Chat(R"({"model":"m","messages":[{"role":"user","content":"x"},
      {"role":"assistant","content":"Sure","prefix":true}]})",
                    &request));
  EXPECT_FALSE(request.options.add_generation_prompt);
  EXPECT_TRUE(request.messages[1].prefix);
}

TEST(CompletionRequest, PromptForms) {
  const auto prompts = [](const std::string& prompt) {
    CompletionRequest request;
    const auto error = Text(R"({"model":"m","prompt":)" + prompt + "}", &request);
    EXPECT_FALSE(error) << error->message;
    return request.prompts;
  };
  EXPECT_EQ(prompts("\"a\""), std::vector<TextOrIds>({"a"}));
  EXPECT_EQ(prompts(R"(["a","b"])"), std::vector<TextOrIds>({"a", "b"}));
  EXPECT_EQ(prompts("[1,2]"), std::vector<TextOrIds>({std::vector<engine::TokenId>{1, 2}}));
  EXPECT_EQ(prompts("[[1,2],[3]]").size(), 2u);
}

TEST(CompletionRequest, Errors) {
  CompletionRequest request;
  EXPECT_EQ(Text(R"({"model":"m"})", &request)->param, "prompt");
  EXPECT_EQ(Text(R"({"prompt":"x"})", &request)->param, "model");
  for (const char* prompt : {"[]", "3", "{}", "[1,\"a\"]", "[-1]", "[1000]", "[1.5]"}) {
    CompletionRequest bad;
    const auto error = Text(std::string(R"({"model":"m","prompt":)") + prompt + "}", &bad);
    ASSERT_TRUE(error) << prompt;
    EXPECT_EQ(error->param, "prompt");
  }
  CompletionRequest bad;
  EXPECT_EQ(Text(R"({"model":"m","prompt":["a",[1],[]]})", &bad)->param, "prompt[2]");
  EXPECT_EQ(TextParam(",\"max_tokens\":0"), "max_tokens");
  EXPECT_EQ(TextParam(",\"max_tokens\":0,\"echo\":true"), "");
  EXPECT_EQ(TextParam(",\"max_tokens\":-1,\"echo\":true"), "max_tokens");
  EXPECT_EQ(TextParam(",\"logprobs\":6"), "logprobs");
  EXPECT_EQ(TextParam(",\"logprobs\":5"), "");
  EXPECT_EQ(TextParam(",\"n\":3,\"best_of\":2"), "best_of");
  EXPECT_EQ(TextParam(",\"best_of\":2,\"stream\":true"), "best_of");
  EXPECT_EQ(TextParam(",\"suffix\":\"a\",\"echo\":true"), "suffix");
}

TEST(CompletionRequest, DefaultIsSixteenTokens) {
  CompletionRequest request;
  ASSERT_FALSE(Text(R"({"model":"m","prompt":"x"})", &request));
  EXPECT_EQ(request.params.max_tokens, 16);
  EXPECT_FALSE(request.logprobs);
}

TEST(ParseBody, Refusals) {
  Json body;
  const auto message = [&](const std::string& text) {
    const auto error = ParseBody(text, {}, &body);
    EXPECT_TRUE(!error || error->status == 400);
    return error ? error->message : "";
  };
  EXPECT_NE(message("").find("empty"), std::string::npos);
  EXPECT_NE(message("{\"a\":\"\xff\"}").find("UTF-8"), std::string::npos);
  EXPECT_NE(message("{\"a\":").find("parse error"), std::string::npos);
  EXPECT_NE(message("[1]").find("array"), std::string::npos);
  EXPECT_NE(message("{\"a\":\"\\ud800\"}").find("surrogate"), std::string::npos);
  EXPECT_NE(message(std::string(100'000, '[')).find("deeper"), std::string::npos);
  EXPECT_NE(message("{\"a\":" + std::string(100, '[') + std::string(100, ']') + "}").find("deeper"),
            std::string::npos);
  std::string keys = "{";
  for (int i = 0; i < 2000; ++i) keys += "\"" + std::to_string(i) + "\":1,";
  EXPECT_NE(message(keys + "\"x\":1}").find("members"), std::string::npos);
  std::string values = "{\"a\":[0";
  for (int i = 0; i < 2'000'001; ++i) values += ",0";
  EXPECT_NE(message(values + "]}").find("values"), std::string::npos);
  EXPECT_EQ(message("{\"a\":\"[[[[{{{{\\\"[[[\",\"b\":[1,2]}"), "");
}

TEST(ChatRequest, CacheSaltAndPriority) {
  ChatRequest request;
  const std::string head = R"({"model":"m","messages":[{"role":"user","content":"hi"}],)";
  ASSERT_FALSE(Chat(head + R"("cache_salt":"s","priority":3})", &request));
  EXPECT_EQ(request.params.cache_salt, "s");
  EXPECT_EQ(request.params.priority, 3);
  EXPECT_EQ(ChatParam(R"(,"cache_salt":"")"), "cache_salt");
  EXPECT_EQ(ChatParam(R"(,"cache_salt":")" + std::string(1025, 'x') + R"(")"), "cache_salt");
  EXPECT_EQ(ChatParam(R"(,"cache_salt":7)"), "cache_salt");
  EXPECT_EQ(ChatParam(R"(,"priority":1.5)"), "priority");
  // Passing others is the operator's to allow.
  EXPECT_EQ(ChatParam(R"(,"priority":-1)"), "priority");
  ModelBounds bounds = Bounds();
  bounds.priority_min = -100;
  Json body;
  ASSERT_FALSE(ParseBody(head + R"("priority":-1})", {}, &body));
  ASSERT_FALSE(ReadChatRequest(body, bounds, &request));
  EXPECT_EQ(request.params.priority, -1);
}

}  // namespace
}  // namespace inhouse::model_server
