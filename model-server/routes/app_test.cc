#include "model-server/routes/app.h"

#include <memory>
#include <string>
#include <vector>

#include "model-server/api/openapi.h"
#include "model-server/routes/app_fixture.h"

namespace inhouse::model_server {
namespace {

TEST_F(AppTest, WhileLoadingOnlyLivezAnswers) {
  serve_ = false;
  Start();
  app_->SetLoadProgress(42, 100);
  EXPECT_EQ(Call("GET", "/livez").status, 200);
  for (const char* path : {"/readyz", "/health", "/v1/models", "/v1/models/x"}) {
    const Reply reply = Call("GET", path);
    EXPECT_EQ(reply.status, 503) << path;
    EXPECT_NE(reply.head.find("Retry-After: "), std::string::npos);
    EXPECT_NE(reply.body.find("42 %"), std::string::npos) << reply.body;
  }
  EXPECT_EQ(Chat().status, 503);
  EXPECT_EQ(Call("GET", "/metrics").status, 200);
}

TEST_F(AppTest, AdaptersAreModels) {
  Start({}, {.served_names = {"org/name", "b:c"}, .adapter_root = "/adapters"});
  const auto load = [this](const std::string& fields) {
    return Call("POST", "/v1/load_lora_adapter", "{" + fields + "}");
  };
  EXPECT_EQ(load(R"("lora_name":"a/x","lora_path":"x")").status, 200);
  EXPECT_EQ(engine_->adapters().front().path, "/adapters/x");
  EXPECT_EQ(load(R"("lora_name":"a/x","lora_path":"x")").Code(), "adapter_exists");
  EXPECT_EQ(load(R"("lora_name":"a/x","lora_path":"y","load_inplace":true)").status, 200);
  EXPECT_EQ(load(R"("lora_name":"y","lora_path":"broken")").Code(), "invalid_adapter");
  EXPECT_EQ(load(R"("lora_name":"y","lora_path":"/adaptersx/y")").status, 403);
  EXPECT_EQ(load(R"("lora_name":"y","lora_path":"x/../../y")").status, 403);
  EXPECT_EQ(load(R"("lora_name":3,"lora_path":"y")").status, 400);
  const json list = Call("GET", "/v1/models").Json();
  ASSERT_EQ(list["data"].size(), 4u);
  EXPECT_EQ(list["data"][2]["id"], "org/name:a/x");
  EXPECT_EQ(list["data"][2]["parent"], "org/name");
  EXPECT_EQ(list["data"][3]["id"], "b:c:a/x");
  EXPECT_EQ(list["data"][3]["parent"], "b:c");
  EXPECT_EQ(Call("GET", "/v1/models/b:c:a%2Fx").Json()["parent"], "b:c");
  for (const char* name : {"org/name:a/x", "b:c:a/x", "a/x"}) {
    EXPECT_EQ(Call("GET", std::string("/v1/models/") + name).status, 200) << name;
    const Reply reply = Call(
        "POST", "/v1/chat/completions",
        std::string(R"({"messages":[{"role":"user","content":"hi"}],"model":")") + name + "\"}");
    EXPECT_EQ(reply.Json()["model"], name);
    EXPECT_EQ(engine_->last_request().adapter, "a/x") << name;
  }
  EXPECT_EQ(Call("GET", "/v1/models/org/name:y").status, 404);
  EXPECT_EQ(Call("POST", "/v1/unload_lora_adapter", R"({"lora_name":"a/x"})").status, 200);
  EXPECT_EQ(Call("POST", "/v1/unload_lora_adapter", R"({"lora_name":"a/x"})").status, 404);
  EXPECT_EQ(Call("GET", "/v1/models/org/name:a/x").status, 404);
}

TEST_F(AppTest, LoadsNoAdaptersUnlessAllowed) {
  Start();
  const Reply reply =
      Call("POST", "/v1/load_lora_adapter", R"({"lora_name":"x","lora_path":"/x"})");
  EXPECT_EQ(reply.status, 403);
  EXPECT_EQ(reply.Code(), "adapter_loading_disabled");
}

TEST_F(AppTest, TheDocumentDescribesEveryRoute) {
  Start();
  const json document = Call("GET", "/openapi.json").Json();
  const std::vector<Route> routes = Routes();
  for (const Route& route : routes) {
    EXPECT_NE(FindOperation(route.method, route.pattern), nullptr) << route.method << route.pattern;
    std::string method(route.method);
    for (char& c : method) c = static_cast<char>(std::tolower(c));
    EXPECT_TRUE(document["paths"][std::string(route.pattern)].contains(method)) << route.pattern;
  }
  EXPECT_EQ(Operations().size(), routes.size());
  EXPECT_EQ(document["components"]["schemas"]["Model"]["enum"], json::parse(R"(["scripted"])"));
}

TEST_F(AppTest, Models) {
  Start({}, {.served_names = {"org/name", "alias"}});
  const json list = Call("GET", "/v1/models").Json();
  EXPECT_EQ(list["object"], "list");
  ASSERT_EQ(list["data"].size(), 2u);
  EXPECT_EQ(list["data"][0]["id"], "org/name");
  EXPECT_EQ(list["data"][0]["max_model_len"], 100);
  EXPECT_EQ(Call("GET", "/v1/models/org%2Fname").Json()["id"], "org/name");
  EXPECT_EQ(Call("GET", "/v1/models/org/name").Json()["id"], "org/name");
  EXPECT_EQ(Call("GET", "/v1/models/alias?x=1").Json()["id"], "alias");
  const Reply missing = Call("GET", "/v1/models/other");
  EXPECT_EQ(missing.status, 404);
  EXPECT_EQ(missing.Code(), "model_not_found");
  EXPECT_EQ(Chat().status, 404);
}

TEST_F(AppTest, RoutesAndMethods) {
  Start();
  EXPECT_EQ(Call("GET", "/v1/nothing").status, 404);
  EXPECT_EQ(Call("GET", "/v1/nothing").Code(), "unknown_url");
  const Reply wrong = Call("GET", "/v1/chat/completions");
  EXPECT_EQ(wrong.status, 405);
  EXPECT_NE(wrong.head.find("Allow: POST, OPTIONS"), std::string::npos) << wrong.head;
  EXPECT_EQ(Call("DELETE", "/v1/models").status, 405);
  EXPECT_EQ(Call("OPTIONS", "/v1/models").status, 204);
  EXPECT_EQ(Call("HEAD", "/v1/models").status, 200);
  EXPECT_EQ(Call("HEAD", "/v1/models").body, "");
  EXPECT_EQ(Call("GET", "/version").Json()["version"], "1.2");
  EXPECT_NE(Call("GET", "/livez").head.find("x-request-id: req_"), std::string::npos);
}

TEST_F(AppTest, ChatWhole) {
  Start();
  const Reply reply = Chat();
  EXPECT_EQ(reply.status, 200) << reply.body;
  const json answer = reply.Json();
  EXPECT_EQ(answer["choices"][0]["message"]["content"], "hello");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "stop");
  EXPECT_EQ(answer["model"], "scripted");
  EXPECT_TRUE(answer["system_fingerprint"].get<std::string>().starts_with("fp_"));
  EXPECT_EQ(answer["usage"]["completion_tokens"], 5);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], std::string("user:hi\nassistant:").size());
  EXPECT_EQ(answer["usage"]["prompt_tokens_details"]["cached_tokens"], 1);
  EXPECT_EQ(engine_->last_request().max_tokens, 100 - 18);
}

TEST_F(AppTest, ChatCutByLength) {
  Start();
  const json answer = Chat(",\"max_tokens\":3,\"n\":2,\"seed\":5").Json();
  ASSERT_EQ(answer["choices"].size(), 2u);
  EXPECT_EQ(answer["choices"][1]["index"], 1);
  EXPECT_EQ(answer["choices"][1]["message"]["content"], "hel");
  EXPECT_EQ(answer["choices"][1]["finish_reason"], "length");
  EXPECT_EQ(answer["usage"]["completion_tokens"], 6);
  EXPECT_EQ(engine_->last_request().sampling.seed, 6u);
}

TEST_F(AppTest, ChatReasoningAndTools) {
  Start({.answer = "why]so{f {\"a\":1}{g {}"});
  const std::string extra =
      R"(,"chat_template_kwargs":{"thinking":true},"tools":[{"type":"function","function":{"name":"f"}}])";
  const json answer = Chat(extra).Json();
  const json& message = answer["choices"][0]["message"];
  EXPECT_EQ(message["reasoning_content"], "why");
  EXPECT_EQ(message["content"], "so");
  EXPECT_EQ(message["tool_calls"][0]["function"]["arguments"], "{\"a\":1");
  EXPECT_EQ(answer["choices"][0]["finish_reason"], "tool_calls");
  // The marker that ends the reasoning is one of its tokens.
  EXPECT_EQ(answer["usage"]["completion_tokens_details"]["reasoning_tokens"], 4);

  const std::vector<json> events = Events(Chat(extra + ",\"stream\":true").body);
  std::string reasoning, content, arguments;
  for (const json& event : events) {
    EXPECT_EQ(event["id"], events[0]["id"]);
    const json& delta = event["choices"][0]["delta"];
    reasoning += delta.value("reasoning_content", "");
    content += delta.value("content", "");
    for (const json& call : delta.value("tool_calls", json::array())) {
      if (call["index"] == 0) arguments += call["function"]["arguments"].get<std::string>();
      EXPECT_TRUE(call["id"].get<std::string>().starts_with("call_"));
    }
  }
  EXPECT_EQ(reasoning, "why");
  EXPECT_EQ(content, "so");
  EXPECT_EQ(arguments, "{\"a\":1");
  EXPECT_EQ(events.back()["choices"][0]["finish_reason"], "tool_calls");

  const json one = Chat(extra + ",\"parallel_tool_calls\":false").Json();
  EXPECT_EQ(one["choices"][0]["message"]["tool_calls"].size(), 1u);
}

TEST_F(AppTest, ChatStream) {
  Start();
  const Reply reply = Chat(
      ",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"logprobs\":true,"
      "\"top_logprobs\":2");
  EXPECT_NE(reply.head.find("text/event-stream"), std::string::npos);
  EXPECT_NE(reply.head.find("X-Accel-Buffering: no"), std::string::npos);
  const std::vector<json> events = Events(reply.body);
  ASSERT_EQ(events.size(), 8u) << reply.body;
  EXPECT_EQ(events[0]["choices"][0]["delta"]["role"], "assistant");
  EXPECT_EQ(events[0]["choices"][0]["delta"]["content"], "");
  std::string content;
  size_t scores = 0;
  for (size_t i = 1; i < 6; ++i) {
    content += events[i]["choices"][0]["delta"]["content"].get<std::string>();
    const json& logprobs = events[i]["choices"][0]["logprobs"]["content"];
    scores += logprobs.size();
    EXPECT_EQ(logprobs[0]["top_logprobs"].size(), 2u);
    EXPECT_TRUE(events[i]["usage"].is_null());
  }
  EXPECT_EQ(content, "hello");
  EXPECT_EQ(scores, 5u);
  EXPECT_EQ(events[6]["choices"][0]["finish_reason"], "stop");
  EXPECT_TRUE(events[7]["choices"].empty());
  EXPECT_EQ(events[7]["usage"]["total_tokens"], 23);
}

TEST_F(AppTest, CompletionEchoAndLogprobs) {
  Start();
  const json answer =
      Complete(R"("prompt":[[65,66],"C\u00e9"],"max_tokens":1,"logprobs":1,"echo":true)").Json();
  ASSERT_EQ(answer["choices"].size(), 2u) << answer;
  const json& first = answer["choices"][0];
  EXPECT_EQ(first["text"], "ABh");
  EXPECT_EQ(first["logprobs"]["tokens"], json({"A", "B", "h"}));
  EXPECT_TRUE(first["logprobs"]["token_logprobs"][0].is_null());
  EXPECT_FLOAT_EQ(first["logprobs"]["token_logprobs"][1].get<float>(), -0.66F);
  EXPECT_TRUE(first["logprobs"]["top_logprobs"][0].is_null());
  EXPECT_EQ(first["logprobs"]["text_offset"], json({0, 1, 2}));
  EXPECT_EQ(first["finish_reason"], "length");
  EXPECT_EQ(answer["choices"][1]["text"], "C\xC3\xA9h");
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 5);
  const json scored = Complete(R"("prompt":"AB","max_tokens":0,"logprobs":0,"echo":true)").Json();
  EXPECT_EQ(scored["choices"][0]["text"], "AB");
  EXPECT_EQ(scored["choices"][0]["logprobs"]["tokens"].size(), 2u);
}

TEST_F(AppTest, CompletionStreamJoinsToTheWhole) {
  Start();
  const std::string body = R"("prompt":"AB","logprobs":1,"echo":true)";
  const json whole = Complete(body).Json()["choices"][0];
  std::string text;
  json tokens = json::array();
  json offsets = json::array();
  for (const json& event : Events(Complete(body + ",\"stream\":true").body)) {
    const json& choice = event["choices"][0];
    text += choice["text"].get<std::string>();
    if (choice["logprobs"].is_null()) continue;
    for (const json& token : choice["logprobs"]["tokens"]) tokens.push_back(token);
    for (const json& offset : choice["logprobs"]["text_offset"]) offsets.push_back(offset);
  }
  EXPECT_EQ(text, whole["text"].get<std::string>());
  EXPECT_EQ(tokens, whole["logprobs"]["tokens"]);
  EXPECT_EQ(offsets, whole["logprobs"]["text_offset"]);
}

TEST_F(AppTest, ManyChoices) {
  Start();
  const json answer = Complete(R"("prompt":["a","b"],"n":2,"best_of":3)").Json();
  ASSERT_EQ(answer["choices"].size(), 4u);
  for (size_t i = 0; i < 4; ++i) EXPECT_EQ(answer["choices"][i]["index"], i);
  EXPECT_EQ(answer["usage"]["prompt_tokens"], 2);
  EXPECT_EQ(answer["usage"]["completion_tokens"], 30);
  EXPECT_TRUE(answer["choices"][0]["logprobs"].is_null());
}

TEST_F(AppTest, BadRequests) {
  Start();
  EXPECT_EQ(Call("POST", "/v1/chat/completions", "{").Code(), "invalid_json");
  EXPECT_EQ(Chat(",\"temperature\":-1").Json()["error"]["param"], "temperature");
  const Reply refused = Chat("", "refuse me");
  EXPECT_EQ(refused.status, 400);
  EXPECT_NE(refused.body.find("no such thing"), std::string::npos);
  const Reply long_prompt = Chat("", std::string(100, 'x'));
  EXPECT_EQ(long_prompt.status, 400);
  EXPECT_EQ(long_prompt.Code(), "context_length_exceeded");
  EXPECT_EQ(Complete(R"("prompt":"")").status, 400);
  EXPECT_EQ(Complete(R"("prompt":"a","suffix":"b")").Json()["error"]["param"], "suffix");
}

TEST_F(AppTest, FullQueueIs429) {
  Start({.in_flight_max = 1, .hold = true});  // or the first has ended before the second comes
  const Reply reply = Chat(",\"n\":2");
  EXPECT_EQ(reply.status, 429);
  EXPECT_NE(reply.head.find("Retry-After: "), std::string::npos);
  EXPECT_EQ(reply.Json()["error"]["type"], "rate_limit_error");
  EXPECT_TRUE(engine_->AwaitInFlight(0));  // the one that was accepted is cancelled or done
}

TEST_F(AppTest, EngineErrors) {
  Start({.fail_after = 2});
  EXPECT_EQ(Chat().status, 500);
  const Reply reply = Chat(",\"stream\":true");
  EXPECT_EQ(reply.status, 200);
  const std::vector<json> events = Events(reply.body, false);
  EXPECT_NE(events.back()["error"]["message"].get<std::string>().find("fire"), std::string::npos);
}

TEST_F(AppTest, LeavingCancels) {
  Start({.hold = true});
  for (const char* extra : {"", ",\"stream\":true", ",\"n\":3"}) {
    TestClient client(server_->port());
    client.Send(Http("POST", "/v1/chat/completions", ChatBody(extra)));
    ASSERT_TRUE(engine_->AwaitInFlight(std::string(extra) == ",\"n\":3" ? 3 : 1));
    client.Close();
    ASSERT_TRUE(engine_->AwaitInFlight(0)) << extra;
  }
  EXPECT_TRUE(engine_->AwaitCancelled(5));
}

TEST_F(AppTest, SilentStreamIsKeptAlive) {
  Start({.hold = true}, {.keep_alive = std::chrono::milliseconds(40)});
  TestClient client(server_->port());
  client.Send(Http("POST", "/v1/chat/completions", ChatBody(",\"stream\":true")));
  const std::string text = client.ReadUntil(": keep-alive\n\n");
  EXPECT_NE(text.find(": keep-alive\n\n"), std::string::npos);
  EXPECT_NE(text.find("200 OK"), std::string::npos);
  engine_->Release();
  EXPECT_NE(client.ReadAll().find("[DONE]"), std::string::npos);
}

TEST_F(AppTest, DrainLetsAnswersEnd) {
  Start({.hold = true});
  TestClient client(server_->port());
  client.Send(Http("POST", "/v1/chat/completions", ChatBody()));
  ASSERT_TRUE(engine_->AwaitInFlight(1));
  std::thread drain([this] { app_->Drain(20); });
  while (Call("GET", "/readyz").status != 503) {
  }
  EXPECT_EQ(Call("GET", "/livez").status, 200);
  EXPECT_EQ(Chat().status, 503);
  engine_->Release();
  EXPECT_NE(client.ReadAll().find("hello"), std::string::npos);
  drain.join();
}

TEST_F(AppTest, DrainEndsWithAnErrorAtItsDeadline) {
  Start({.hold = true});
  TestClient whole(server_->port());
  whole.Send(Http("POST", "/v1/chat/completions", ChatBody()));
  TestClient stream(server_->port());
  stream.Send(Http("POST", "/v1/chat/completions", ChatBody(",\"stream\":true")));
  ASSERT_TRUE(engine_->AwaitInFlight(2));
  app_->Drain(0.05);
  EXPECT_EQ(Parse(whole.ReadAll()).status, 503);
  EXPECT_NE(stream.ReadAll().find("\"error\":"), std::string::npos);
  EXPECT_TRUE(engine_->AwaitInFlight(0));
}

TEST_F(AppTest, MetricsCountRequests) {
  Start();
  Chat();
  Chat(",\"max_tokens\":1");
  Call("GET", "/nowhere");
  const std::string text = Call("GET", "/metrics").body;
  EXPECT_NE(text.find("vllm:request_success_total{engine=\"0\",finished_reason=\"length\","
                      "model_name=\"scripted\"} 1"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("http_requests_total{handler=\"none\",method=\"other\",status=\"4xx\"} 1"),
            std::string::npos);
  EXPECT_NE(text.find("vllm:time_to_first_token_seconds_count"), std::string::npos);
  EXPECT_NE(text.find("vllm:kv_cache_usage_perc"), std::string::npos);
}

TEST_F(AppTest, TokenizeAndBack) {
  Start();
  EXPECT_EQ(Call("POST", "/tokenize", R"({"prompt":"AB"})").Json()["tokens"], json({65, 66}));
  EXPECT_EQ(Call("POST", "/tokenize", R"({"content":"A"})").Json()["count"], 1);
  EXPECT_EQ(Call("POST", "/tokenize", R"({"messages":[{"role":"u","content":"A"}]})").status, 400);
  EXPECT_EQ(Call("POST", "/detokenize", R"({"tokens":[65,66]})").Json()["prompt"], "AB");
  EXPECT_EQ(Call("POST", "/detokenize", R"({"tokens":[999]})").status, 400);
  EXPECT_EQ(Call("GET", "/tokenizer_info").Json()["eos_token"], "<|end|>");
}

}  // namespace
}  // namespace inhouse::model_server
