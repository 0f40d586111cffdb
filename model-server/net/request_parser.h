// Bytes -> Request, for HTTP/1.0 and 1.1. Works without a network, so that it can be tested and
// fuzzed.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "model-server/http/message.h"

namespace inhouse::model_server {

struct ParserLimits {
  size_t header_bytes_max = 32 << 10;
  size_t body_bytes_max = 32 << 20;
};

// One request. Not thread-safe. After an error it stays in that state.
class RequestParser {
 public:
  enum class State { kStart, kHeader, kBody, kDone, kError };

  explicit RequestParser(const ParserLimits& limits);
  ~RequestParser();
  RequestParser(RequestParser&&) noexcept;
  RequestParser& operator=(RequestParser&&) noexcept;

  // Takes what it can use from `bytes` and returns how much that was; what it did not take must be
  // offered again with more behind it. Stops at the end of the request.
  size_t Feed(std::string_view bytes);

  State state() const;
  int error_status() const;               // with kError: 400, 413, 431, 501 or 505
  const std::string& error() const;       // with kError: what is wrong
  bool keep_alive() const;                // from kBody on
  bool http10() const;                    // from kBody on
  bool expects_continue() const;          // from kBody on: the client waits for "100 Continue"
  uint64_t body_bytes_announced() const;  // from kBody on; the limit itself for a chunked body
  Request Head() const;                   // from kBody on: what is known before the body
  Request Take();                         // with kDone, once

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace inhouse::model_server
