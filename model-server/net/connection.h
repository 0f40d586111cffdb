// One connection: reads requests one after another, writes answers from a bounded queue. Private to
// net/: includes Asio.
#pragma once

#include <array>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/ip/tcp.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <string>
#include <unordered_set>

#include "absl/synchronization/notification.h"
#include "model-server/net/server.h"
#include "model-server/net/tls.h"

namespace inhouse::model_server {

class Connection;
using SteadyTime = std::chrono::steady_clock::time_point;

// What the connections of one server share. Only touched on the io thread.
struct ServerCore {
  ServerOptions options;
  Handler handler;
  ErrorBody error_body;
  HeadCheck head_check;
  std::shared_ptr<const TlsContext> tls;  // for new connections; null: plain
  boost::asio::io_context io{1};
  std::unordered_set<Connection*> connections = {};
  uint64_t body_bytes = 0;  // announced by requests in flight
  uint64_t request_count = 0;
  bool draining = false;
  absl::Notification drained = {};          // draining, and the last connection is gone
  std::array<char, 64 << 10> scratch = {};  // where every read lands first
};

// Lives on the io thread; its two coroutines own it.
class Connection : public std::enable_shared_from_this<Connection> {
 public:
  Connection(ServerCore* core, boost::asio::ip::tcp::socket socket,
             const boost::asio::ip::tcp::endpoint& peer);

  void Start();
  void Refuse(int status, const std::string& message);  // answers and closes
  void Sweep(SteadyTime now);                           // closes what is past its deadline
  void OnDrain();
  void Close();
  bool idle() const { return phase_ == Phase::kIdle && out_bytes_ == 0; }
  SteadyTime idle_deadline() const { return deadline_; }

  // For the writer of exchange number `serial`; calls for an older exchange do nothing.
  void Send(uint64_t serial, Response response);
  void StartStream(uint64_t serial, Response head);
  bool WritePiece(uint64_t serial, std::string piece);
  void End(uint64_t serial);
  void Abandon(uint64_t serial);
  bool IsOpen(uint64_t serial) const { return !closed_ && busy_ && serial == serial_; }
  void SetOnClosed(uint64_t serial, std::function<void()> work);

 private:
  enum class Phase { kHandshake, kIdle, kHeader, kBody, kBusy, kLinger };

  boost::asio::awaitable<void> ReadLoop();
  boost::asio::awaitable<void> WriteLoop();
  boost::asio::awaitable<bool> WriteAll(const std::string& bytes);
  boost::asio::awaitable<bool> WriteRaw(const char* data, size_t size);
  bool Decrypt(size_t size);  // what is in the scratch buffer; false if the connection is over
  bool MayWrite() const { return tls_ == nullptr || tls_->established(); }
  void ProcessInput();
  bool AdvancePhase();  // false if the request was refused
  bool Admit();
  void Dispatch();
  void FinishExchange();
  void ReleaseBody();
  void Queue(std::string bytes);
  std::string HeadText(const Response& response, bool streams) const;
  void SetDeadline(std::chrono::milliseconds delay);

  ServerCore* core_;
  boost::asio::ip::tcp::socket socket_;
  const std::string peer_;    // its address
  const std::string remote_;  // with its port
  boost::asio::steady_timer read_wake_;
  boost::asio::steady_timer write_wake_;

  std::unique_ptr<TlsSession> tls_;  // null: plain
  std::string wire_;                 // encrypted, to be sent before anything else

  Phase phase_ = Phase::kIdle;
  SteadyTime deadline_;
  SteadyTime write_deadline_ = SteadyTime::max();
  std::string in_;  // not yet parsed
  RequestParser parser_;
  bool processing_ = false;
  bool admitted_ = false;
  uint64_t body_reserved_ = 0;
  bool body_refused_ = false;  // the handler got a request without it

  uint64_t serial_ = 0;  // of the exchange
  bool busy_ = false;    // it is open
  bool streaming_ = false;
  bool chunked_ = false;
  bool keep_alive_ = true;
  bool head_only_ = false;  // HEAD
  bool http10_ = false;
  std::function<void()> on_closed_;

  std::deque<std::string> out_;
  size_t out_bytes_ = 0;
  bool closing_ = false;       // after out_ is written
  bool unread_input_ = false;  // the client may still be sending
  bool closed_ = false;
  uint64_t linger_bytes_ = 0;
};

}  // namespace inhouse::model_server
