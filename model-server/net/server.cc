#include "model-server/net/server.h"

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/detached.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/use_awaitable.hpp>
#include <thread>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "base/check.h"
#include "base/log.h"
#include "base/status.h"
#include "fmt/format.h"
#include "model-server/net/connection.h"

namespace inhouse::model_server {
namespace {

namespace asio = boost::asio;
using asio::ip::tcp;
constexpr auto kAwait = asio::as_tuple(asio::use_awaitable);
constexpr std::chrono::milliseconds kSweepInterval{100};
constexpr size_t kRefusalsMax = 64;  // connections beyond the limit that still get a 503

absl::Status BindError(const ServerOptions& options, const boost::system::error_code& error) {
  return base::InputError(
      absl::StatusCode::kUnavailable,
      {.field = "host, port",
       .value = fmt::format("{}:{}", options.host, options.port),
       .expected = "an address to listen on (" + error.message() + ")",
       .hint = "Choose another with --host and --port; --port 0 takes any free port."});
}

absl::StatusOr<tcp::acceptor> OpenAcceptor(asio::io_context& io, const ServerOptions& options) {
  boost::system::error_code error;
  tcp::resolver resolver(io);
  const auto found =
      resolver.resolve(options.host, std::to_string(options.port), tcp::resolver::passive, error);
  if (error || found.empty()) return BindError(options, error);
  const tcp::endpoint endpoint = found.begin()->endpoint();
  if (options.loopback_only && !endpoint.address().is_loopback()) {
    return base::InputError(
        absl::StatusCode::kFailedPrecondition,
        {.field = "host",
         .value = options.host,
         .expected = "a loopback address, since callers need no key",
         .hint = "`inhouse keys create` makes a key, and serve then asks for one; "
                 "--insecure-no-auth serves whoever can reach the port."});
  }
  tcp::acceptor acceptor(io);
  acceptor.open(endpoint.protocol(), error);
  if (!error) acceptor.set_option(tcp::acceptor::reuse_address(true), error);
  if (!error) acceptor.bind(endpoint, error);
  if (!error) acceptor.listen(asio::socket_base::max_listen_connections, error);
  if (error) return BindError(options, error);
  return acceptor;
}

}  // namespace

struct Server::Impl {
  void Admit(tcp::socket socket);
  bool EvictIdle();
  void Sweep();
  asio::awaitable<void> AcceptLoop();
  asio::awaitable<void> SweepLoop();
  void CloseAll();

  ServerCore core;
  std::unique_ptr<tcp::acceptor> acceptor;
  uint16_t port = 0;
  std::thread thread;
};

// The connection that has been idle for the longest time makes room for a new one.
bool Server::Impl::EvictIdle() {
  Connection* oldest = nullptr;
  for (Connection* connection : core.connections) {
    if (connection->idle() &&
        (oldest == nullptr || connection->idle_deadline() < oldest->idle_deadline())) {
      oldest = connection;
    }
  }
  if (oldest == nullptr) return false;
  oldest->Close();
  return true;
}

void Server::Impl::Admit(tcp::socket socket) {
  boost::system::error_code error;
  const tcp::endpoint peer = socket.remote_endpoint(error);
  if (error) return;  // already gone
  const bool full = core.connections.size() >= core.options.connections_max && !EvictIdle();
  if (full && core.connections.size() >= core.options.connections_max + kRefusalsMax) return;
  auto connection = std::make_shared<Connection>(&core, std::move(socket), peer);
  connection->Start();
  if (full) connection->Refuse(503, "The server has too many connections; try again later.");
}

asio::awaitable<void> Server::Impl::AcceptLoop() {
  while (acceptor->is_open()) {
    auto [error, socket] = co_await acceptor->async_accept(kAwait);
    if (!acceptor->is_open()) break;
    if (!error) {
      Admit(std::move(socket));
      continue;
    }
    // Out of file descriptors, most likely: wait until some are given back.
    spdlog::warn("cannot accept a connection: {}", error.message());
    asio::steady_timer pause(core.io, kSweepInterval);
    co_await pause.async_wait(kAwait);
  }
}

asio::awaitable<void> Server::Impl::SweepLoop() {
  asio::steady_timer timer(core.io);
  for (;;) {
    timer.expires_after(kSweepInterval);
    co_await timer.async_wait(kAwait);
    const std::vector<Connection*> all(core.connections.begin(), core.connections.end());
    const SteadyTime now = std::chrono::steady_clock::now();
    for (Connection* connection : all) connection->Sweep(now);
  }
}

void Server::Impl::CloseAll() {
  const std::vector<Connection*> all(core.connections.begin(), core.connections.end());
  for (Connection* connection : all) connection->Close();
}

absl::StatusOr<std::unique_ptr<Server>> Server::Listen(const ServerOptions& options) {
  auto impl = std::make_unique<Impl>();
  impl->core.options = options;
  if (!options.tls.cert_file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(impl->core.tls, TlsContext::Load(options.tls));
  }
  INHOUSE_ASSIGN_OR_RETURN(tcp::acceptor acceptor, OpenAcceptor(impl->core.io, options));
  impl->acceptor = std::make_unique<tcp::acceptor>(std::move(acceptor));
  boost::system::error_code ignored;
  impl->port = impl->acceptor->local_endpoint(ignored).port();
  return std::unique_ptr<Server>(new Server(std::move(impl)));
}

void Server::Start(Handler handler, ErrorBody error_body, HeadCheck head_check) {
  Impl* impl = impl_.get();
  INHOUSE_CHECK(!impl->thread.joinable(), "Start is called once");
  impl->core.handler = std::move(handler);
  impl->core.error_body = std::move(error_body);
  impl->core.head_check = std::move(head_check);
  asio::co_spawn(
      impl->core.io, [impl] { return impl->AcceptLoop(); }, asio::detached);
  asio::co_spawn(
      impl->core.io, [impl] { return impl->SweepLoop(); }, asio::detached);
  impl->thread = std::thread([impl] { impl->core.io.run(); });
}

Server::Server(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}

Server::~Server() { Shutdown(0); }

uint16_t Server::port() const { return impl_->port; }

void Server::Shutdown(double seconds_max) {
  if (!impl_->thread.joinable()) return;
  ServerCore& core = impl_->core;
  Post([this, &core] {
    core.draining = true;
    boost::system::error_code ignored;
    impl_->acceptor->close(ignored);
    const std::vector<Connection*> all(core.connections.begin(), core.connections.end());
    for (Connection* connection : all) connection->OnDrain();
    if (core.connections.empty() && !core.drained.HasBeenNotified()) core.drained.Notify();
  });
  core.drained.WaitForNotificationWithTimeout(absl::Seconds(seconds_max));
  Post([this] {
    impl_->CloseAll();
    // What was posted so far (the cancelled requests' last words) still runs.
    Post([this] { impl_->core.io.stop(); });
  });
  impl_->thread.join();
}

void Server::SetTls(std::shared_ptr<const TlsContext> tls) {
  Post([this, tls = std::move(tls)] { impl_->core.tls = tls; });
}

void Server::Post(std::function<void()> work) { asio::post(impl_->core.io, std::move(work)); }

void Server::PostAfter(std::chrono::milliseconds delay, std::function<void()> work) {
  auto timer = std::make_shared<asio::steady_timer>(impl_->core.io, delay);
  timer->async_wait([timer, work = std::move(work)](const boost::system::error_code& error) {
    if (!error) work();
  });
}

}  // namespace inhouse::model_server
