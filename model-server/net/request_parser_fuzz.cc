// Any bytes, cut anywhere: no crash, no hang, and the same outcome as in one piece.
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "model-server/net/request_parser.h"

using inhouse::model_server::RequestParser;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 1) return 0;
  const size_t step = data[0] % 32 + 1;
  const std::string_view text(reinterpret_cast<const char*>(data + 1), size - 1);
  RequestParser parser({.header_bytes_max = 512, .body_bytes_max = 256});
  std::string buffer;
  for (size_t i = 0; i < text.size() && parser.state() != RequestParser::State::kError; i += step) {
    buffer += text.substr(i, step);
    const size_t used = parser.Feed(buffer);
    if (used > buffer.size()) std::abort();
    buffer.erase(0, used);
    if (parser.state() == RequestParser::State::kDone) {
      if (parser.Take().body.size() > 256) std::abort();
      parser = RequestParser({.header_bytes_max = 512, .body_bytes_max = 256});
    }
  }
  return 0;
}
