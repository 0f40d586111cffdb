// A blocking HTTP client for tests: bytes in, bytes out.
#pragma once

#include <arpa/inet.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cstdint>
#include <string>
#include <utility>

namespace inhouse::model_server {

// A plain blocking client.
class TestClient {
 public:
  explicit TestClient(uint16_t port) : fd_(socket(AF_INET, SOCK_STREAM, 0)) {
    sockaddr_in address = {};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    connected_ = connect(fd_, reinterpret_cast<sockaddr*>(&address), sizeof(address)) == 0;
    timeval timeout = {.tv_sec = 10, .tv_usec = 0};
    setsockopt(fd_, SOL_SOCKET, SO_RCVTIMEO, &timeout, sizeof(timeout));
  }
  ~TestClient() { Close(); }
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

}  // namespace inhouse::model_server
