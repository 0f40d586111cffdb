#include "model-server/net/request_parser.h"

#include <boost/asio/buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/string_body.hpp>
#include <utility>

namespace inhouse::model_server {

namespace beast = boost::beast;
namespace http = boost::beast::http;

namespace {

Request HeadOf(const http::request<http::string_body>& message) {
  Request request;
  request.method = std::string(message.method_string());
  request.target = std::string(message.target());
  for (const auto& field : message) {
    request.headers.Add(std::string(field.name_string()), std::string(field.value()));
  }
  return request;
}

}  // namespace

struct RequestParser::Impl {
  explicit Impl(const ParserLimits& bounds) : limits(bounds) {
    parser.eager(true);
    parser.header_limit(static_cast<uint32_t>(limits.header_bytes_max));
    parser.body_limit(limits.body_bytes_max);
  }

  void Fail(int status, std::string message) {
    state = State::kError;
    error_status = status;
    error = std::move(message);
  }

  void FailWith(const beast::error_code& ec);
  void CheckHead();

  ParserLimits limits;
  http::request_parser<http::string_body> parser;
  State state = State::kStart;
  int error_status = 0;
  std::string error;
};

void RequestParser::Impl::FailWith(const beast::error_code& ec) {
  if (ec == http::error::body_limit) {
    Fail(413, "The request body is larger than the limit of " +
                  std::to_string(limits.body_bytes_max) + " bytes.");
  } else if (ec == http::error::header_limit) {
    Fail(431, "The request header is larger than the limit of " +
                  std::to_string(limits.header_bytes_max) + " bytes.");
  } else if (ec == http::error::bad_version) {
    Fail(505, "The HTTP version is not supported: expected HTTP/1.1 or HTTP/1.0.");
  } else {
    Fail(400, "The request is not valid HTTP: " + ec.message() + ".");
  }
}

// What Beast leaves to us, once the header is complete.
void RequestParser::Impl::CheckHead() {
  const auto& message = parser.get();
  const auto coding = message[http::field::transfer_encoding];
  if (!coding.empty() && !beast::iequals(coding, "chunked")) {
    Fail(501, "The transfer coding '" + std::string(coding) + "' is not supported.");
  } else if (message.version() != 10 && message.version() != 11) {
    Fail(505, "The HTTP version is not supported: expected HTTP/1.1 or HTTP/1.0.");
  } else if (message.version() == 11 && message.count(http::field::host) != 1) {
    Fail(400, "The request is not valid HTTP: expected exactly one Host header.");
  } else {
    state = State::kBody;
  }
}

RequestParser::RequestParser(const ParserLimits& limits) : impl_(std::make_unique<Impl>(limits)) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

size_t RequestParser::Feed(std::string_view bytes) {
  Impl& impl = *impl_;
  size_t used = 0;
  // Blank lines before a request are allowed (RFC 9112, 2.2).
  while (impl.state == State::kStart && used < bytes.size() &&
         (bytes[used] == '\r' || bytes[used] == '\n')) {
    ++used;
  }
  if (used == bytes.size() || impl.state == State::kDone || impl.state == State::kError) {
    return used;
  }
  // Beast asserts that it is not asked to go on with a last chunk of fewer bytes than "0\r\n\r\n",
  // the least that can be missing where a chunk begins.
  constexpr size_t kLastChunkBytes = 5;
  if (impl.state == State::kBody && impl.parser.chunked() &&
      bytes.size() - used < kLastChunkBytes) {
    return used;
  }
  if (impl.state == State::kStart) impl.state = State::kHeader;
  beast::error_code ec;
  used += impl.parser.put(boost::asio::buffer(bytes.data() + used, bytes.size() - used), ec);
  if (impl.state == State::kHeader && impl.parser.is_header_done()) impl.CheckHead();
  if (impl.state == State::kError) return used;
  if (ec && ec != http::error::need_more) {
    impl.FailWith(ec);
  } else if (impl.parser.is_done()) {
    impl.state = State::kDone;
  } else if (bytes.size() - used > impl.limits.header_bytes_max) {
    // A header, chunk line or trailer that has no end.
    impl.FailWith(impl.state == State::kHeader ? http::error::header_limit
                                               : http::error::bad_chunk_extension);
  }
  return used;
}

RequestParser::State RequestParser::state() const { return impl_->state; }
int RequestParser::error_status() const { return impl_->error_status; }
const std::string& RequestParser::error() const { return impl_->error; }
bool RequestParser::keep_alive() const { return impl_->parser.get().keep_alive(); }

bool RequestParser::http10() const { return impl_->parser.get().version() == 10; }

bool RequestParser::expects_continue() const {
  return beast::iequals(impl_->parser.get()[http::field::expect], "100-continue");
}

uint64_t RequestParser::body_bytes_announced() const {
  if (impl_->parser.chunked()) return impl_->limits.body_bytes_max;
  return impl_->parser.content_length().value_or(0);
}

Request RequestParser::Head() const { return HeadOf(impl_->parser.get()); }

Request RequestParser::Take() {
  auto message = impl_->parser.release();
  Request request = HeadOf(message);
  request.body = std::move(message.body());
  return request;
}

}  // namespace inhouse::model_server
