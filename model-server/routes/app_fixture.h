// The application over real sockets with a scripted engine behind it, for the tests of routes.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "model-server/net/server.h"
#include "model-server/net/test_client.h"
#include "model-server/routes/app.h"
#include "model-server/routes/scripted_engine.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {

using json = nlohmann::json;

struct Reply {
  int status = 0;
  std::string head;
  std::string body;
  json Json() const { return json::parse(body, nullptr, false); }
  std::string Code() const { return Json()["error"].value("code", ""); }
};

// The chunks of a chunked body joined.
inline std::string Unchunk(const std::string& text) {
  std::string out;
  for (size_t at = 0; at < text.size();) {
    const size_t size = std::stoul(text.substr(at), nullptr, 16);
    at = text.find("\r\n", at) + 2;
    out += text.substr(at, size);
    at += size + 2;
    if (size == 0) break;
  }
  return out;
}

class AppTest : public testing::Test {
 protected:
  void Start(const ScriptedEngine::Script& script = {}, AppOptions options = {}) {
    server_ = *Server::Listen({});
    options.version = "1.2";
    app_ = std::make_unique<App>(options, server_.get(), &metrics_);
    server_->Start(app_->handler(), App::error_body(), app_->head_check());
    auto engine = std::make_unique<ScriptedEngine>(script);
    engine_ = engine.get();
    if (serve_) app_->Serve(std::move(engine));
  }
  void TearDown() override {
    if (server_ != nullptr) server_->Shutdown(0);
    app_.reset();
  }

  // `headers` as whole lines.
  static std::string HttpWith(const std::string& method, const std::string& target,
                              const std::string& body, const std::string& headers) {
    return method + " " + target + " HTTP/1.1\r\nHost: x\r\n" + headers +
           "Connection: close\r\nContent-Length: " + std::to_string(body.size()) + "\r\n\r\n" +
           body;
  }
  static std::string Http(const std::string& method, const std::string& target,
                          const std::string& body) {
    return HttpWith(method, target, body, "");
  }
  static Reply Parse(const std::string& text) {
    Reply reply;
    const size_t end = text.find("\r\n\r\n");
    if (end == std::string::npos) return reply;
    reply.status = std::stoi(text.substr(9, 3));
    reply.head = text.substr(0, end);
    reply.body = text.substr(end + 4);
    if (reply.head.find("chunked") != std::string::npos) reply.body = Unchunk(reply.body);
    return reply;
  }
  Reply Call(const std::string& method, const std::string& target, const std::string& body = "") {
    TestClient client(server_->port());
    client.Send(Http(method, target, body));
    return Parse(client.ReadAll());
  }
  Reply CallWith(const std::string& method, const std::string& target, const std::string& body,
                 const std::string& headers) {
    TestClient client(server_->port());
    client.Send(HttpWith(method, target, body, headers));
    return Parse(client.ReadAll());
  }
  Reply Chat(const std::string& extra = "", const std::string& content = "hi") {
    return Call("POST", "/v1/chat/completions", ChatBody(extra, content));
  }
  static std::string ChatBody(const std::string& extra = "", const std::string& content = "hi") {
    return R"({"model":"scripted","messages":[{"role":"user","content":")" + content + "\"}]" +
           extra + "}";
  }
  Reply Complete(const std::string& extra) {
    return Call("POST", "/v1/completions", R"({"model":"scripted",)" + extra + "}");
  }
  // The data objects of an event stream; checks its frame.
  static std::vector<json> Events(const std::string& body, bool done = true) {
    std::vector<json> events;
    size_t at = 0;
    while (at < body.size()) {
      const size_t end = body.find("\n\n", at);
      const std::string event = body.substr(at, end - at);
      at = end + 2;
      if (event.starts_with(":")) continue;
      EXPECT_TRUE(event.starts_with("data: ")) << event;
      if (event == "data: [DONE]") {
        EXPECT_EQ(at, body.size());
        return events;
      }
      events.push_back(json::parse(event.substr(6)));
    }
    EXPECT_FALSE(done) << "no [DONE]: " << body;
    return events;
  }

  bool serve_ = true;
  monitoring::Metrics metrics_{"1.2", "c"};
  std::unique_ptr<Server> server_;
  std::unique_ptr<App> app_;
  ScriptedEngine* engine_ = nullptr;
};

}  // namespace inhouse::model_server
