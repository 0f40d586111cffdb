#include "model-server/net/connection.h"

#include <algorithm>
#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <boost/asio/write.hpp>
#include <ctime>
#include <utility>

#include "base/log.h"
#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);

constexpr size_t kPipelinedBytesMax = 64 << 10;
// With so much of its answers waiting to be read, a client's next request waits, too: thousands
// that ask and do not read must not fill the memory.
constexpr size_t kUnreadBytesMax = 64 << 10;
constexpr size_t kWriteBytes = 64 << 10;
constexpr std::chrono::milliseconds kLingerTimeout{3000};
// Of TLS's own answers that wait to be sent: a peer can ask for them without end (key updates) and
// not read one.
constexpr size_t kWireBytesMax = 256 << 10;

std::string HttpDate() {
  const std::time_t now = std::time(nullptr);
  std::tm parts = {};
  gmtime_r(&now, &parts);
  char text[40];
  const size_t size = std::strftime(text, sizeof(text), "%a, %d %b %Y %H:%M:%S GMT", &parts);
  return std::string(text, size);
}

// The writer that handlers see: a handle on one exchange of a connection.
class Exchange : public ResponseWriter {
 public:
  Exchange(std::shared_ptr<Connection> connection, uint64_t serial, asio::io_context* io)
      : connection_(std::move(connection)), serial_(serial), io_(io) {}
  // The last reference may be dropped on any thread.
  ~Exchange() override {
    asio::post(*io_, [connection = std::move(connection_), serial = serial_] {
      connection->Abandon(serial);
    });
  }
  void Send(Response response) override { connection_->Send(serial_, std::move(response)); }
  void StartStream(Response head) override { connection_->StartStream(serial_, std::move(head)); }
  bool Write(std::string piece) override {
    return connection_->WritePiece(serial_, std::move(piece));
  }
  void End() override { connection_->End(serial_); }
  bool closed() const override { return !connection_->IsOpen(serial_); }
  void OnClosed(std::function<void()> work) override {
    connection_->SetOnClosed(serial_, std::move(work));
  }

 private:
  std::shared_ptr<Connection> connection_;
  const uint64_t serial_;
  asio::io_context* io_;
};

}  // namespace

Connection::Connection(ServerCore* core, tcp::socket socket, const tcp::endpoint& peer)
    : core_(core),
      socket_(std::move(socket)),
      peer_(peer.address().to_string()),
      remote_(fmt::format(fmt::runtime(peer.address().is_v6() ? "[{}]:{}" : "{}:{}"), peer_,
                          peer.port())),
      read_wake_(core->io),
      write_wake_(core->io),
      parser_(core->options.limits) {
  read_wake_.expires_at(SteadyTime::max());
  write_wake_.expires_at(SteadyTime::max());
  SetDeadline(core_->options.idle_timeout);
  if (core_->tls != nullptr) {
    tls_ = std::make_unique<TlsSession>(*core_->tls);
    phase_ = Phase::kHandshake;
    SetDeadline(core_->options.header_timeout);
  }
}

void Connection::Start() {
  core_->connections.insert(this);
  boost::system::error_code ignored;
  socket_.non_blocking(true, ignored);
  socket_.set_option(tcp::no_delay(true), ignored);  // a token is a packet
  auto self = shared_from_this();
  const auto on_end = [self](const std::exception_ptr& error) {
    if (error) self->Close();  // out of memory: this connection ends, the server goes on
  };
  asio::co_spawn(
      core_->io, [self] { return self->ReadLoop(); }, on_end);
  asio::co_spawn(
      core_->io, [self] { return self->WriteLoop(); }, on_end);
}

void Connection::SetDeadline(std::chrono::milliseconds delay) {
  deadline_ = std::chrono::steady_clock::now() + delay;
}

void Connection::Close() {
  if (closed_) return;
  closed_ = true;
  ReleaseBody();
  boost::system::error_code ignored;
  socket_.close(ignored);
  read_wake_.cancel();
  write_wake_.cancel();
  out_.clear();
  core_->connections.erase(this);
  if (core_->draining && core_->connections.empty() && !core_->drained.HasBeenNotified()) {
    core_->drained.Notify();
  }
  if (auto work = std::exchange(on_closed_, nullptr)) asio::post(core_->io, std::move(work));
}

void Connection::Sweep(SteadyTime now) {
  if (closed_) return;
  if (now > write_deadline_) return Close();
  if (phase_ == Phase::kBusy || now <= deadline_) return;
  if ((phase_ == Phase::kHeader || phase_ == Phase::kBody) && !closing_) {
    Refuse(408, phase_ == Phase::kHeader ? "The request header did not arrive in time."
                                         : "The request body did not arrive in time.");
  } else {
    Close();
  }
}

void Connection::OnDrain() {
  keep_alive_ = false;
  if ((idle() && in_.empty()) || phase_ == Phase::kHandshake) Close();
}

// Always reads, also while an answer is being made: that is how a client that leaves is noticed.
asio::awaitable<void> Connection::ReadLoop() {
  auto self = shared_from_this();
  while (!closed_) {
    const bool full =
        (busy_ && in_.size() >= kPipelinedBytesMax) || (!busy_ && out_bytes_ > kUnreadBytesMax);
    if (full) {
      co_await read_wake_.async_wait(kAwait);
      continue;
    }
    auto [wait_error] = co_await socket_.async_wait(tcp::socket::wait_read, kAwait);
    if (closed_) break;
    boost::system::error_code error = wait_error;
    size_t size = 0;
    if (!error) size = socket_.read_some(asio::buffer(core_->scratch), error);
    if (error == asio::error::would_block || error == asio::error::try_again) continue;
    if (error) break;
    if (tls_ == nullptr) {
      in_.append(core_->scratch.data(), size);
    } else if (phase_ != Phase::kLinger && !Decrypt(size)) {
      if (phase_ == Phase::kHandshake) co_return;  // the writer sends the alert and closes
      break;
    }
    if (phase_ == Phase::kLinger || closing_) {
      in_.clear();
      linger_bytes_ += size;
      if (linger_bytes_ > 2 * core_->options.limits.body_bytes_max) break;
      continue;
    }
    ProcessInput();
  }
  Close();
}

bool Connection::Decrypt(size_t size) {
  const bool going =
      tls_->Receive({core_->scratch.data(), size}, &in_, &wire_) && wire_.size() <= kWireBytesMax;
  if (phase_ == Phase::kHandshake) {
    if (going && tls_->established()) {
      phase_ = Phase::kIdle;
      SetDeadline(core_->options.idle_timeout);
    } else if (!going) {
      spdlog::info("{}: no TLS: {}", remote_, tls_->error());
      closing_ = true;
      out_.clear();
      out_bytes_ = 0;
    }
  }
  write_wake_.cancel();
  return going;
}

asio::awaitable<bool> Connection::WriteRaw(const char* data, size_t size) {
  write_deadline_ = std::chrono::steady_clock::now() + core_->options.write_timeout;
  auto [error, written] = co_await asio::async_write(socket_, asio::buffer(data, size), kAwait);
  write_deadline_ = SteadyTime::max();
  co_return !error && !closed_;
}

asio::awaitable<bool> Connection::WriteAll(const std::string& bytes) {
  std::string encrypted;
  for (size_t offset = 0; offset < bytes.size(); offset += kWriteBytes) {
    const size_t size = std::min(kWriteBytes, bytes.size() - offset);
    if (tls_ == nullptr) {
      if (!co_await WriteRaw(bytes.data() + offset, size)) co_return false;
      continue;
    }
    // Records leave in the order in which they were made, those of the reader included.
    encrypted = std::exchange(wire_, {});
    tls_->Send(std::string_view(bytes).substr(offset, size), &encrypted);
    if (!co_await WriteRaw(encrypted.data(), encrypted.size())) co_return false;
  }
  co_return true;
}

asio::awaitable<void> Connection::WriteLoop() {
  auto self = shared_from_this();
  std::string sending;
  while (!closed_) {
    if (!wire_.empty()) {
      sending = std::exchange(wire_, {});
      if (!co_await WriteRaw(sending.data(), sending.size())) co_return Close();
      continue;
    }
    if (out_.empty() || !MayWrite()) {
      if (closing_ && out_.empty()) break;
      co_await write_wake_.async_wait(kAwait);
      continue;
    }
    sending = std::move(out_.front());
    out_.pop_front();
    while (!out_.empty() && sending.size() + out_.front().size() <= kWriteBytes) {
      sending += out_.front();
      out_.pop_front();
    }
    if (!co_await WriteAll(sending)) {
      Close();
      co_return;
    }
    out_bytes_ -= sending.size();
    read_wake_.cancel();
    ProcessInput();  // requests that came long ago may have waited for this
  }
  if (closed_) co_return;
  if (tls_ != nullptr) {
    tls_->Close(&wire_);
    sending = std::exchange(wire_, {});
    if (!sending.empty() && !co_await WriteRaw(sending.data(), sending.size())) co_return Close();
  }
  // Closing with unread input would send a reset, which can destroy the answer on its way: stop
  // sending, then read until the client closes.
  if (!unread_input_) co_return Close();
  boost::system::error_code ignored;
  socket_.shutdown(tcp::socket::shutdown_send, ignored);
  phase_ = Phase::kLinger;
  SetDeadline(kLingerTimeout);
  read_wake_.cancel();
}

void Connection::ProcessInput() {
  if (processing_) return;  // a handler answered at once; the loop below goes on
  processing_ = true;
  while (!closed_ && !closing_ && !busy_ && !in_.empty() && out_bytes_ <= kUnreadBytesMax) {
    in_.erase(0, parser_.Feed(in_));
    if (!AdvancePhase() || parser_.state() != RequestParser::State::kDone) break;
    Dispatch();
  }
  processing_ = false;
}

bool Connection::AdvancePhase() {
  using State = RequestParser::State;
  const State state = parser_.state();
  if (state == State::kError) {
    Refuse(parser_.error_status(), parser_.error());
    return false;
  }
  if (state == State::kStart) return true;
  if (phase_ == Phase::kIdle) {
    phase_ = Phase::kHeader;
    SetDeadline(core_->options.header_timeout);
  }
  if (state == State::kHeader || admitted_) return true;
  phase_ = Phase::kBody;
  SetDeadline(core_->options.body_timeout);
  return Admit();
}

// The header is complete: is there room for the body?
bool Connection::Admit() {
  const uint64_t bytes = parser_.body_bytes_announced();
  if (core_->body_bytes + bytes > core_->options.body_bytes_total_max) {
    Refuse(503, "The server holds too many request bodies; try again later.");
    return false;
  }
  // Who is refused anyway need not send a body first.
  if (bytes > 0 && core_->head_check) {
    Request head = parser_.Head();
    head.peer = peer_;
    if (core_->head_check(head)) {
      body_refused_ = true;
      Dispatch();
      return false;
    }
  }
  admitted_ = true;
  body_reserved_ = bytes;
  core_->body_bytes += bytes;
  if (parser_.expects_continue() && parser_.state() == RequestParser::State::kBody) {
    Queue("HTTP/1.1 100 Continue\r\n\r\n");
  }
  return true;
}

void Connection::ReleaseBody() {
  core_->body_bytes -= body_reserved_;
  body_reserved_ = 0;
  admitted_ = false;
}

void Connection::Dispatch() {
  keep_alive_ = parser_.keep_alive() && !core_->draining && !body_refused_;
  http10_ = parser_.http10();
  auto request = std::make_shared<Request>(body_refused_ ? parser_.Head() : parser_.Take());
  head_only_ = request->method == "HEAD";
  request->remote = remote_;
  request->peer = peer_;
  const std::string_view id = request->headers.Find("x-request-id");
  request->id = IsHarmlessId(id)
                    ? std::string(id)
                    : fmt::format("req_{:x}{:08x}",
                                  std::chrono::system_clock::now().time_since_epoch().count(),
                                  ++core_->request_count);
  parser_ = RequestParser(core_->options.limits);
  phase_ = Phase::kBusy;
  busy_ = true;
  streaming_ = false;
  ++serial_;
  core_->handler(std::move(request),
                 std::make_shared<Exchange>(shared_from_this(), serial_, &core_->io));
}

void Connection::FinishExchange() {
  busy_ = false;
  on_closed_ = nullptr;
  ReleaseBody();
  phase_ = Phase::kIdle;
  SetDeadline(core_->options.idle_timeout);
  if (!keep_alive_) {
    closing_ = true;
    unread_input_ = body_refused_ || !in_.empty();
    write_wake_.cancel();
    return;
  }
  read_wake_.cancel();
  ProcessInput();
}

void Connection::Queue(std::string bytes) {
  out_bytes_ += bytes.size();
  out_.push_back(std::move(bytes));
  write_wake_.cancel();
}

std::string Connection::HeadText(const Response& response, bool streams) const {
  std::string text = fmt::format("HTTP/1.1 {} {}\r\nDate: {}\r\nServer: inhouse\r\n",
                                 response.status, ReasonPhrase(response.status), HttpDate());
  for (const auto& [name, value] : response.headers.fields) {
    text += name;
    text += ": ";
    // No line breaks from whatever was repeated in a header.
    for (const char c : value) text.push_back(c == '\r' || c == '\n' ? ' ' : c);
    text += "\r\n";
  }
  if (streams) {
    if (chunked_) text += "Transfer-Encoding: chunked\r\n";
  } else if (response.status != 204) {
    text += fmt::format("Content-Length: {}\r\n", response.body.size());
  }
  if (!keep_alive_) {
    text += "Connection: close\r\n";
  } else if (http10_) {
    text += "Connection: keep-alive\r\n";
  }
  return text + "\r\n";
}

void Connection::Refuse(int status, const std::string& message) {
  keep_alive_ = false;
  closing_ = true;
  unread_input_ = true;
  in_.clear();
  ReleaseBody();
  Response response{.status = status, .body = core_->error_body(status, message)};
  response.headers.Add("Content-Type", "application/json");
  if (status == 503) response.headers.Add("Retry-After", "5");
  Queue(HeadText(response, false) + response.body);
}

void Connection::Send(uint64_t serial, Response response) {
  if (!IsOpen(serial) || streaming_) return;
  std::string text = HeadText(response, false);
  if (!head_only_) {
    if (text.size() + response.body.size() < kWriteBytes) {
      text += response.body;
    } else {
      Queue(std::exchange(text, std::move(response.body)));
    }
  }
  Queue(std::move(text));
  FinishExchange();
}

void Connection::StartStream(uint64_t serial, Response head) {
  if (!IsOpen(serial) || streaming_) return;
  streaming_ = true;
  chunked_ = !http10_;
  if (http10_) keep_alive_ = false;  // the end of the connection is the end of the answer
  Queue(HeadText(head, true));
  if (!head.body.empty()) WritePiece(serial, std::move(head.body));
}

bool Connection::WritePiece(uint64_t serial, std::string piece) {
  if (!IsOpen(serial) || !streaming_) return false;
  if (piece.empty() || head_only_) return true;
  if (out_bytes_ + piece.size() > core_->options.out_bytes_max) {
    Close();
    return false;
  }
  Queue(chunked_ ? fmt::format("{:x}\r\n{}\r\n", piece.size(), piece) : std::move(piece));
  return true;
}

void Connection::End(uint64_t serial) {
  if (!IsOpen(serial) || !streaming_) return;
  if (chunked_ && !head_only_) Queue("0\r\n\r\n");
  FinishExchange();
}

void Connection::Abandon(uint64_t serial) {
  if (!IsOpen(serial)) return;
  if (streaming_) return Close();  // a cut chunked answer is an error that clients see
  Response response{.status = 500, .body = core_->error_body(500, "The server gave no answer.")};
  response.headers.Add("Content-Type", "application/json");
  Send(serial, std::move(response));
}

void Connection::SetOnClosed(uint64_t serial, std::function<void()> work) {
  if (IsOpen(serial)) {
    on_closed_ = std::move(work);
  } else if (closed_ && serial == serial_) {
    asio::post(core_->io, std::move(work));
  }
}

}  // namespace inhouse::model_server
