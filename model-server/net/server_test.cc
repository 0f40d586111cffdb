#include "model-server/net/server.h"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <utility>

#include "absl/synchronization/notification.h"
#include "absl/time/time.h"

namespace inhouse::model_server {
namespace {

using std::chrono::milliseconds;

// A plain blocking client.
class Client {
 public:
  explicit Client(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    timeval timeout = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~Client() { Close(); }
  void Close() {
    if (fd_ >= 0) close(fd_);
    fd_ = -1;
  }
  bool connected() const { return connected_; }
  bool Send(const std::string& text) {
    return send(fd_, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  bool WaitReadable(int milliseconds) {
    pollfd wait = {.fd = fd_, .events = POLLIN, .revents = 0};
    return poll(&wait, 1, milliseconds) > 0;
  }
  // Reads until `end` was seen, or the server closes.
  std::string ReadUntil(const std::string& end) {
    while (end.empty() || text_.find(end) == std::string::npos) {
      char buffer[4096];
      const ssize_t size = recv(fd_, buffer, sizeof(buffer), 0);
      if (size <= 0) break;
      text_.append(buffer, static_cast<size_t>(size));
    }
    return std::exchange(text_, "");
  }
  std::string ReadAll() { return ReadUntil(""); }

 private:
  int fd_;
  bool connected_ = false;
  std::string text_;
};

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
  Client client(server->port());
  client.Send(std::string(kGet) + kGet + kGetClose);
  const std::string text = client.ReadAll();
  size_t answers = 0;
  for (size_t at = 0; (at = text.find("HTTP/1.1 200 OK", at)) != std::string::npos; ++at) ++answers;
  EXPECT_EQ(answers, 3u) << text;
  EXPECT_LT(text.find("GET /a "), text.find("GET /z "));
  EXPECT_NE(text.find("Connection: close"), std::string::npos);
}

TEST(Server, HeadHasNoBody) {
  auto server = Start({}, Echo);
  Client client(server->port());
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
  Client client(server->port());
  client.Send(kGetClose);
  const std::string text = client.ReadAll();
  EXPECT_NE(text.find("Transfer-Encoding: chunked"), std::string::npos);
  EXPECT_TRUE(text.ends_with("3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n")) << text;
  Client old(server->port());
  old.Send("GET / HTTP/1.0\r\n\r\n");
  EXPECT_TRUE(old.ReadAll().ends_with("\r\n\r\nonetwo"));
}

TEST(Server, SlowHeaderIsCutOff) {
  auto server = Start({.header_timeout = milliseconds(300)}, Echo);
  Client client(server->port());
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
  Client client(server->port());
  client.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nabc");
  EXPECT_NE(client.ReadAll().find("408:"), std::string::npos);
}

TEST(Server, IdleConnectionIsClosed) {
  auto server = Start({.idle_timeout = milliseconds(200)}, Echo);
  Client client(server->port());
  client.Send(kGet);
  const std::string text = client.ReadAll();  // returns because the server closes
  EXPECT_NE(text.find("200 OK"), std::string::npos);
}

TEST(Server, TooLargeIsAnsweredBeforeClosing) {
  auto server = Start({.limits = {.header_bytes_max = 2000, .body_bytes_max = 1000}}, Echo);
  Client body(server->port());
  body.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 500000\r\n\r\n");
  body.Send(std::string(500000, 'x'));
  EXPECT_NE(body.ReadAll().find("413:"), std::string::npos);
  Client header(server->port());
  header.Send("GET / HTTP/1.1\r\nX: " + std::string(500000, 'x'));
  EXPECT_NE(header.ReadAll().find("431:"), std::string::npos);
}

TEST(Server, BodiesInFlightAreBounded) {
  auto server = Start({.limits = {.body_bytes_max = 1000}, .body_bytes_total_max = 1500}, Echo);
  Client first(server->port());
  first.Send("POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 900\r\n\r\n");
  EXPECT_NE(first.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  Client second(server->port());
  second.Send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 900\r\n\r\n");
  EXPECT_NE(second.ReadAll().find("503:"), std::string::npos);
  first.Send(std::string(900, 'x'));
  EXPECT_NE(first.ReadUntil("xxx").find("200 OK"), std::string::npos);
  Client third(server->port());
  third.Send("POST / HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 900\r\n\r\n" +
             std::string(900, 'y'));
  EXPECT_NE(third.ReadAll().find("200 OK"), std::string::npos);
}

TEST(Server, ConnectionsAreBounded) {
  auto server = Start({.connections_max = 2}, Echo);
  // Both wait in the middle of a request, so neither can make room.
  const std::string head =
      "POST / HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\n";
  Client first(server->port());
  first.Send(head);
  EXPECT_NE(first.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  Client second(server->port());
  second.Send(head);
  EXPECT_NE(second.ReadUntil("\r\n\r\n").find("100 Continue"), std::string::npos);
  Client third(server->port());
  third.Send(kGetClose);
  EXPECT_NE(third.ReadAll().find("503:"), std::string::npos);
  // A connection that is idle is closed in favour of a new one.
  first.Send("x");
  EXPECT_NE(first.ReadUntil("POST / x").find("200 OK"), std::string::npos);
  third.Close();
  Client fourth(server->port());
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
  Client client(server->port());
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
  Client client(server->port());
  client.Send(kGet);
  EXPECT_TRUE(gone.WaitForNotificationWithTimeout(absl::Seconds(10)));
  server->Shutdown(0);
}

TEST(Server, DroppedWriterIsAnError) {
  auto server = Start({}, [](auto, auto) {});
  Client client(server->port());
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
  Client idle(server->port());
  Client client(server->port());
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
  EXPECT_FALSE(Client(server->port()).connected());
}

TEST(Server, BadAddressIsNamed) {
  auto server = Server::Listen({.host = "256.1.1.1"});
  ASSERT_FALSE(server.ok());
  EXPECT_NE(std::string(server.status().message()).find("256.1.1.1"), std::string::npos);
}

}  // namespace
}  // namespace inhouse::model_server
