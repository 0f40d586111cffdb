#include "model-server/net/server.h"

#include <gtest/gtest.h>

#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"
#include "model-server/net/test_client.h"

namespace inhouse::model_server {
namespace {

using std::chrono::milliseconds;

std::string ErrorText(int status, const std::string& message) {
  return std::to_string(status) + ":" + message;
}

std::unique_ptr<Server> Start(ServerOptions options, Handler handler) {
  auto server = Server::Listen(options);
  EXPECT_TRUE(server.ok()) << server.status();
  (*server)->Start(std::move(handler), ErrorText);
  return *std::move(server);
}

void Echo(const std::shared_ptr<const Request>& request,
          const std::shared_ptr<ResponseWriter>& writer) {
  writer->Send({.body = request->method + " " + request->target + " " + request->body});
}

const char kGet[] = "GET /a HTTP/1.1\r\nHost: x\r\n\r\n";
const char kGetClose[] = "GET /z HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";

TEST(Server, KeepAliveAndPipelining) {
  auto server = Start({}, Echo);
  TestClient client(server->port());
  client.Send(std::string(kGet) + kGet + kGetClose);
  const std::string text = client.ReadAll();
  size_t answers = 0;
  for (size_t at = 0; (at = text.find("HTTP/1.1 200 OK", at)) != std::string::npos; ++at) ++answers;
  EXPECT_EQ(answers, 3u) << text;
  EXPECT_LT(text.find("GET /a "), text.find("GET /z "));
  EXPECT_NE(text.find("Connection: close"), std::string::npos);
}

// More than the server keeps for one connection: it goes on when the client has read.
TEST(Server, PipelinedAnswersMayBeLarge) {
  constexpr size_t kRequests = 400;
  const std::string body(64 << 10, 'x');
  auto server = Start({}, [&body](auto, auto writer) { writer->Send({.body = body}); });
  TestClient client(server->port());
  std::string requests;
  for (size_t i = 0; i + 1 < kRequests; ++i) requests += kGet;
  ASSERT_TRUE(client.Send(requests + kGetClose));
  const std::string text = client.ReadAll();
  size_t answers = 0;
  for (size_t at = 0; (at = text.find("HTTP/1.1 200 OK", at)) != std::string::npos; ++at) ++answers;
  EXPECT_EQ(answers, kRequests);
}

TEST(Server, HeadHasNoBody) {
  auto server = Start({}, Echo);
  TestClient client(server->port());
  client.Send("HEAD /a HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
  const std::string text = client.ReadAll();
  EXPECT_NE(text.find("Content-Length: 8"), std::string::npos) << text;
  EXPECT_TRUE(text.ends_with("\r\n\r\n"));
}

TEST(Server, StreamIsChunked) {
  auto server = Start({}, [](auto, auto writer) {
    writer->StartStream({.body = "one"});
    EXPECT_TRUE(writer->Write("two"));
    writer->End();
  });
  TestClient client(server->port());
  client.Send(kGetClose);
  const std::string text = client.ReadAll();
  EXPECT_NE(text.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_TRUE(text.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")) << text;
  TestClient old(server->port());
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ReadAll().ends_with("\r\n\r\nonetwo"));
}

TEST(Server, SlowHeaderIsCutOff) {
  auto server = Start({.header_timeout = milliseconds(300)}, Echo);
  TestClient client(server->port());
  const auto start = std::chrono::steady_clock::now();
  // A byte whenever 50 ms have passed without an answer.
  for (int i = 0; i < 100 && !client.WaitReadable(50) && client.Send("G"); ++i) {
  }
  const std::string text = client.ReadAll();
  const auto seconds = std::chrono::steady_clock::now() - start;
  EXPECT_NE(text.find("408"), std::string::npos) << text;
  EXPECT_LT(seconds, std::chrono::seconds(4));
}

TEST(Server, SlowBodyIsCutOff) {
  auto server = Start({.body_timeout = milliseconds(200)}, Echo);
  TestClient client(server->port());
  client.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_NE(client.ReadAll().find("408:"), std::string::npos);
}

TEST(Server, IdleConnectionIsClosed) {
  auto server = Start({.idle_timeout = milliseconds(200)}, Echo);
  TestClient client(server->port());
  client.Send(kGet);
  const std::string text = client.ReadAll();  // returns because the server closes
  EXPECT_NE(text.find("200 OK"), std::string::npos);
}

TEST(Server, TooLargeIsAnsweredBeforeClosing) {
  auto server = Start({.limits = {.header_bytes_max = 2000, .body_bytes_max = 1000}}, Echo);
  TestClient body(server->port());
  body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
  body.Send(std::string(500000, 'x'));
  EXPECT_NE(body.ReadAll().find("413:"), std::string::npos);
  TestClient header(server->port());
  header.Send("GET / HTTP/1.1\r\nX: " + std::string(500000, 'x'));
  EXPECT_NE(header.ReadAll().find("431:"), std::string::npos);
}

TEST(Server, BodiesInFlightAreBounded) {
  auto server = Start({.limits = {.body_bytes_max = 1000}, .body_bytes_total_max = 1500}, Echo);
  TestClient first(server->port());
  first.Send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 900\r\n\r\n");
  EXPECT_NE(first.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  TestClient second(server->port());
  second.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n");
  EXPECT_NE(second.ReadAll().find("503:"), std::string::npos);
  first.Send(std::string(900, 'x'));
  EXPECT_NE(first.ReadUntil("xxx").find("200 OK"), std::string::npos);
  TestClient third(server->port());
  third.Send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900\r\n\r\n" +
             std::string(900, 'y'));
  EXPECT_NE(third.ReadAll().find("200 OK"), std::string::npos);
}

TEST(Server, ConnectionsAreBounded) {
  auto server = Start({.connections_max = 2}, Echo);
  // Both wait in the middle of a request, so neither can make room.
  const std::string head =
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
  TestClient first(server->port());
  first.Send(head);
  EXPECT_NE(first.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  TestClient second(server->port());
  second.Send(head);
  EXPECT_NE(second.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  TestClient third(server->port());
  third.Send(kGetClose);
  EXPECT_NE(third.ReadAll().find("503:"), std::string::npos);
  // A connection that is idle is closed in favour of a new one.
  first.Send("x");
  EXPECT_NE(first.ReadUntil("POST / x").find("200 OK"), std::string::npos);
  third.Close();
  TestClient fourth(server->port());
  fourth.Send(kGetClose);
  EXPECT_NE(fourth.ReadAll().find("200 OK"), std::string::npos);
  EXPECT_EQ(first.ReadAll(), "");
}

TEST(Server, DisconnectIsTold) {
  absl::Notification gone;
  absl::Notification asked;
  std::shared_ptr<ResponseWriter> kept;
  auto server = Start({}, [&](auto, auto writer) {
    kept = writer;
    writer->OnClosed([&gone] { gone.Notify(); });
    asked.Notify();
  });
  TestClient client(server->port());
  client.Send(kGet);
  ASSERT_TRUE(asked.WaitForNotificationWithTimeout(absl::Seconds(10)));
  client.Close();
  EXPECT_TRUE(gone.WaitForNotificationWithTimeout(absl::Seconds(10)));
  absl::Notification checked;
  server->Post([&] {
    EXPECT_TRUE(kept->closed());
    EXPECT_FALSE(kept->Write("x"));
    kept.reset();
    checked.Notify();
  });
  EXPECT_TRUE(checked.WaitForNotificationWithTimeout(absl::Seconds(10)));
}

TEST(Server, SlowReaderIsCutOff) {
  absl::Notification gone;
  std::shared_ptr<ResponseWriter> kept;
  auto server = Start({.out_bytes_max = 100000}, [&](auto, auto writer) {
    kept = writer;
    writer->OnClosed([&gone] { gone.Notify(); });
    writer->StartStream({});
    // Far more than the queue; nothing can be written before the handler returns.
    for (int i = 0; i < 200 && writer->Write(std::string(1000, 'x')); ++i) {
    }
  });
  TestClient client(server->port());
  client.Send(kGet);
  EXPECT_TRUE(gone.WaitForNotificationWithTimeout(absl::Seconds(10)));
  server->Post([&kept] { kept.reset(); });
  server->Shutdown(0);
}

TEST(Server, DroppedWriterIsAnError) {
  auto server = Start({}, [](auto, auto) {});
  TestClient client(server->port());
  client.Send(kGetClose);
  EXPECT_NE(client.ReadAll().find("500:"), std::string::npos);
}

TEST(Server, ShutdownWaitsForAnswers) {
  std::shared_ptr<ResponseWriter> kept;
  absl::Notification asked;
  auto server = Start({}, [&](auto, auto writer) {
    kept = writer;
    asked.Notify();
  });
  TestClient idle(server->port());
  TestClient client(server->port());
  client.Send(kGet);
  ASSERT_TRUE(asked.WaitForNotificationWithTimeout(absl::Seconds(10)));
  server->PostAfter(milliseconds(200), [&] {
    kept->Send({.body = "late"});
    kept.reset();
  });
  const auto start = std::chrono::steady_clock::now();
  server->Shutdown(20);
  EXPECT_LT(std::chrono::steady_clock::now() - start, std::chrono::seconds(15));
  const std::string text = client.ReadAll();
  EXPECT_TRUE(text.ends_with("late")) << text;
  EXPECT_NE(text.find("Connection: close"), std::string::npos);
  EXPECT_EQ(idle.ReadAll(), "");
  EXPECT_FALSE(TestClient(server->port()).connected());
}

TEST(Server, BadAddressIsNamed) {
  auto server = Server::Listen({.host = "256.1.1.1"});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(std::string(server.status().message()).find("256.1.1.1"), std::string::npos);
}

}  // namespace
}  // namespace inhouse::model_server
