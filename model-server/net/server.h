// The listener and its connections: sockets, deadlines, limits, back-pressure. Knows HTTP/1.1, not
// what is asked for.
#pragma once

#include <chrono>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "model-server/http/handler.h"
#include "model-server/net/request_parser.h"
#include "model-server/net/tls.h"

namespace inhouse::model_server {

struct ServerOptions {
  std::string host = "127.0.0.1";  // a name or an address
  uint16_t port = 0;               // 0 = any free one
  // Refuses (FailedPrecondition) to listen where other machines could reach it: nobody would have
  // to show a key.
  bool loopback_only = false;
  TlsOptions tls = {};
  ParserLimits limits = {};
  size_t connections_max = 2048;
  uint64_t body_bytes_total_max = 256 << 20;  // of all requests in flight
  size_t out_bytes_max = 4 << 20;             // queued for one stream; a slower reader is cut off
  std::chrono::milliseconds header_timeout{
      10'000};  // from a request's first byte to its last header
  std::chrono::milliseconds body_timeout{120'000};
  std::chrono::milliseconds idle_timeout{75'000};   // between requests
  std::chrono::milliseconds write_timeout{60'000};  // for each 64 KiB
};

// Owns the listening socket and the io thread. Thread-safe.
class Server : public Loop {
 public:
  // Binds: from now on clients can connect, and wait. Errors name the address.
  static absl::StatusOr<std::unique_ptr<Server>> Listen(const ServerOptions& options);
  ~Server() override;  // closes what is still open

  uint16_t port() const;

  // Starts the io thread, which answers. Once.
  void Start(Handler handler, ErrorBody error_body, HeadCheck head_check = {});

  // For connections from now on; those that are open keep what they have. Any thread.
  void SetTls(std::shared_ptr<const TlsContext> tls);

  // Stops accepting; idle connections are closed at once, the others when their answer is sent, and
  // all of them after `seconds_max`. The io thread has ended when it returns.
  void Shutdown(double seconds_max);

  void Post(std::function<void()> work) override;
  void PostAfter(std::chrono::milliseconds delay, std::function<void()> work) override;

 private:
  struct Impl;
  explicit Server(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace inhouse::model_server
