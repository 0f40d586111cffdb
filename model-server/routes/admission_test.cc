// The guard in front of the routes.
#include "model-server/routes/admission.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/time/clock.h"
#include "guard/keys/key_file.h"
#include "model-server/routes/app_fixture.h"

namespace inhouse::model_server {
namespace {

// A guard with one key, which `text` gets.
std::shared_ptr<guard::Guard> GuardWithKey(guard::KeyRecord key, std::string* text,
                                           guard::PolicyOptions rules = {}) {
  key.id = "key_1";
  *text = *guard::AddSecret(&key, {.now = absl::Now()});
  rules.keys_required = true;
  rules.keys = {std::move(key)};
  return std::make_shared<guard::Guard>(*guard::Policy::Create(std::move(rules)));
}

// Whatever the table holds, now and later: nobody gets past without a key, and from an address
// that is denied nobody gets anything at all.
TEST_F(AppTest, NoRouteIsOpen) {
  std::string text;
  Start({}, {.guard = GuardWithKey({.scopes = {"batch"}}, &text)});
  std::vector<std::string> open;
  const auto call = [this](const Route& route, const std::string& header) {
    std::string target(route.pattern);
    const size_t brace = target.find('{');
    if (brace != std::string::npos) target.replace(brace, std::string::npos, "scripted");
    return CallWith(std::string(route.method), target, "{}", header);
  };
  const std::vector<Route> routes = Routes();
  EXPECT_GE(routes.size(), 12u);
  for (const Route& route : routes) {
    const std::string name = std::string(route.method) + " " + std::string(route.pattern);
    if (route.scope == guard::Scope::kPublic) {
      open.push_back(name);
      EXPECT_EQ(call(route, "").status, 200) << name;
      continue;
    }
    for (const char* header : {"", "Authorization: Bearer ih_none\r\n", "x-api-key: x\r\n",
                               "Authorization: Basic eDp5\r\n"}) {
      const Reply reply = call(route, header);
      EXPECT_EQ(reply.status, 401) << name;
      EXPECT_EQ(reply.Code(), "invalid_api_key") << name;
      EXPECT_NE(reply.head.find("WWW-Authenticate: Bearer"), std::string::npos) << name;
      EXPECT_NE(reply.head.find("x-request-id: "), std::string::npos) << name;
    }
    if (route.scope == guard::Scope::kBatch) continue;
    EXPECT_EQ(call(route, "Authorization: Bearer " + text + "\r\n").status, 403) << name;
  }
  EXPECT_EQ(open, (std::vector<std::string>{"GET /livez", "GET /readyz"}));
  // What is no route does not tell so to strangers either.
  for (const char* method : {"GET", "POST", "DELETE", "HEAD", "OPTIONS"}) {
    EXPECT_EQ(CallWith(method, "/nowhere", "", "").status, 401) << method;
    EXPECT_EQ(CallWith(method, "/metrics", "", "").status, 401) << method;
    EXPECT_EQ(CallWith(method, "//v1/models", "", "").status, 401) << method;
  }
}

TEST_F(AppTest, WhoIsRefusedNeedNotSendABody) {
  std::string text;
  guard::KeyRecord key{.role = "user"};
  key.requests_per_minute = 1;
  Start({}, {.guard = GuardWithKey(key, &text)});
  const std::string head =
      "POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\n"
      "Connection: close\r\nContent-Length: " +
      std::to_string(ChatBody().size()) + "\r\n";
  TestClient stranger(server_->port());
  stranger.Send(head + "\r\n");
  const Reply refused = Parse(stranger.ReadUntil("}}"));
  EXPECT_EQ(refused.status, 401);
  EXPECT_EQ(refused.Code(), "invalid_api_key");
  // Asking beforehand uses nothing up: the only request of the minute is still there.
  TestClient known(server_->port());
  known.Send(head + "x-api-key: " + text + "\r\n\r\n");
  EXPECT_TRUE(known.ReadUntil("\r\n\r\n").starts_with("HTTP/1.1 100"));
  known.Send(ChatBody());
  EXPECT_EQ(Parse(known.ReadAll()).status, 200);
}

TEST_F(AppTest, EveryRouteRefusesADeniedAddress) {
  std::string text;
  guard::PolicyOptions rules;
  rules.deny = *guard::CidrList::Parse({"127.0.0.0/8"});
  Start({}, {.guard = GuardWithKey({.role = "admin"}, &text, rules)});
  for (const Route& route : Routes()) {
    std::string target(route.pattern.substr(0, route.pattern.find('{')));
    const Reply reply =
        CallWith(std::string(route.method), target, "{}", "Authorization: Bearer " + text + "\r\n");
    EXPECT_EQ(reply.status, 403) << route.pattern;
    EXPECT_EQ(reply.Code(), "ip_not_allowed") << route.pattern;
  }
}

TEST_F(AppTest, KeysAreReadAsOpenAiAndAnthropicSendThem) {
  std::string text;
  Start({}, {.guard = GuardWithKey({.role = "user"}, &text)});
  for (const std::string& header :
       {"Authorization: Bearer " + text, "authorization: bearer  " + text, "x-api-key: " + text,
        "X-API-Key: " + text, "Authorization: Basic eDp5\r\nx-api-key: " + text}) {
    EXPECT_EQ(CallWith("GET", "/v1/models", "", header + "\r\n").status, 200) << header;
  }
  EXPECT_EQ(CallWith("GET", "/metrics", "", "x-api-key: " + text + "\r\n").status, 403);
}

TEST_F(AppTest, AKeySeesAndUsesItsModels) {
  std::string text;
  Start({}, {.served_names = {"scripted", "hidden"},
             .guard = GuardWithKey({.role = "user", .models = {"scripted"}}, &text)});
  const std::string header = "x-api-key: " + text + "\r\n";
  const Reply list = CallWith("GET", "/v1/models", "", header);
  EXPECT_EQ(list.Json()["data"].size(), 1u) << list.body;
  EXPECT_EQ(CallWith("GET", "/v1/models/hidden", "", header).status, 404);
  EXPECT_EQ(CallWith("POST", "/v1/chat/completions", ChatBody(), header).status, 200);
  const Reply refused =
      CallWith("POST", "/v1/completions", R"({"model":"hidden","prompt":"x"})", header);
  EXPECT_EQ(refused.status, 403) << refused.body;
  EXPECT_EQ(refused.Code(), "model_not_allowed");
  EXPECT_EQ(refused.Json()["error"]["param"], "model");
}

TEST_F(AppTest, LimitsAreToldInHeaders) {
  std::string text;
  guard::KeyRecord key{.role = "user"};
  key.requests_per_minute = 3;
  key.tokens_per_minute = 60;
  Start({}, {.guard = GuardWithKey(key, &text)});
  const std::string header = "x-api-key: " + text + "\r\n";
  const Reply first = CallWith("POST", "/v1/chat/completions", ChatBody(), header);
  EXPECT_EQ(first.status, 200);
  EXPECT_NE(first.head.find("x-ratelimit-limit-requests: 3\r\n"), std::string::npos);
  EXPECT_NE(first.head.find("x-ratelimit-remaining-requests: 2\r\n"), std::string::npos);
  EXPECT_NE(first.head.find("x-ratelimit-reset-requests: "), std::string::npos) << first.head;
  const auto used = first.Json()["usage"]["total_tokens"].get<int>();
  EXPECT_NE(first.head.find("x-ratelimit-remaining-tokens: " + std::to_string(60 - used)),
            std::string::npos)
      << first.head;
  CallWith("POST", "/v1/completions", R"({"model":"scripted","prompt":"x"})", header);
  // A prompt that never fits is said to be hopeless; the request counts.
  const Reply large =
      CallWith("POST", "/v1/chat/completions", ChatBody("", std::string(70, 'x')), header);
  EXPECT_EQ(large.status, 429) << large.body;
  EXPECT_EQ(large.Code(), "rate_limit_exceeded");
  EXPECT_NE(large.head.find("x-should-retry: false"), std::string::npos);
  EXPECT_EQ(large.head.find("Retry-After"), std::string::npos);
  const Reply refused = CallWith("POST", "/v1/chat/completions", ChatBody(), header);
  EXPECT_EQ(refused.status, 429);
  EXPECT_EQ(refused.Code(), "rate_limit_exceeded");
  EXPECT_NE(refused.head.find("Retry-After: "), std::string::npos) << refused.head;
  EXPECT_NE(refused.head.find("x-ratelimit-remaining-requests: 0"), std::string::npos);
  EXPECT_EQ(CallWith("GET", "/v1/models", "", header).status, 200) << "lists are no work";
}

TEST_F(AppTest, APlaceInFlightIsGivenBackWhenTheClientLeaves) {
  std::string text;
  guard::KeyRecord key{.role = "user"};
  key.concurrent = 1;
  Start({.answer = std::string(100, 'x'), .hold = true}, {.guard = GuardWithKey(key, &text)});
  const std::string header = "x-api-key: " + text + "\r\n";
  {
    TestClient client(server_->port());
    client.Send(HttpWith("POST", "/v1/chat/completions", ChatBody(R"(,"stream":true)"), header));
    client.ReadUntil("200 OK");
    const Reply refused = CallWith("POST", "/v1/chat/completions", ChatBody(), header);
    EXPECT_EQ(refused.status, 429);
    EXPECT_NE(refused.head.find("Retry-After: 1"), std::string::npos);
  }
  int status = 429;
  for (int i = 0; i < 200 && status == 429; ++i) {
    TestClient client(server_->port());
    client.Send(HttpWith("POST", "/v1/chat/completions", ChatBody(R"(,"stream":true)"), header));
    status = Parse(client.ReadUntil("\r\n\r\n")).status;
  }
  EXPECT_EQ(status, 200);
}

// One line of the request log, parsed.
json LogLine(const Request& request, const Call& call, std::string_view route, int status) {
  const std::string line = FormatLogLine(
      {.request = &request, .call = &call, .route = route, .status = status, .seconds = 0.25},
      1'790'000'000'123);
  EXPECT_EQ(line.find('\n'), line.size() - 1) << "a line is a line";
  return json::parse(line, nullptr, false);
}

TEST(RequestLog, SaysWhoAndHowLongButNotWhat) {
  const Request request{.method = "POST",
                        .target = "/v1/chat/completions?key=secret",
                        .body = "secret",
                        .peer = "::1",
                        .id = "req\"1"};
  Call call{.model = "m\nn", .finish_reason = "stop", .prompt_tokens = 7, .queue_ms = 1.5};
  call.caller = {.client = "10.0.0.1", .key_id = "key_1", .key_prefix = "ih_1", .tenant = "t"};
  const json line = LogLine(request, call, "/v1/chat/completions", 200);
  EXPECT_EQ(line["time"], "2026-09-21T14:13:20.123Z");
  EXPECT_EQ(line["request_id"], "req\"1");
  EXPECT_EQ(line["client"], "10.0.0.1");
  EXPECT_EQ(line["model"], "m\nn");
  EXPECT_EQ(line["duration_ms"], 250.0);
  EXPECT_TRUE(line["first_token_ms"].is_null());
  EXPECT_EQ(line.dump().find("secret"), std::string::npos);
}

TEST(RequestLog, StrangersGetALineToo) {
  const Request request{.method = "GET", .target = "/x\xff\"\n?a=b", .peer = "::1", .id = "r"};
  const json line = LogLine(request, Call(), "none", 404);
  EXPECT_EQ(line["client"], "::1");
  EXPECT_EQ(line["path"], "/x\xEF\xBF\xBD\"\n");
  EXPECT_TRUE(line["key_id"].is_null());
  EXPECT_FALSE(line.contains("prompt_tokens"));
}

}  // namespace
}  // namespace inhouse::model_server
