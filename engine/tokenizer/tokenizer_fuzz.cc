// A tokenizer.json from any bytes, and text through whatever it makes. The input is the file, a
// zero byte, and the text. Files go through memory (/dev/shm) under the name of this process.
#include <unistd.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>

#include "base/utf8.h"
#include "engine/tokenizer/tokenizer.h"

namespace {

using inhouse::engine::StreamDecoder;
using inhouse::engine::Tokenizer;

void Require(bool holds) {
  if (!holds) std::abort();
}

void RoundTrip(const Tokenizer& tokenizer, std::string_view text) {
  for (const bool parse_special : {true, false}) {
    const auto ids = tokenizer.Encode(
        text, {.add_special_tokens = parse_special, .parse_special = parse_special});
    for (const auto id : ids) Require(id >= 0 && id < tokenizer.vocab_size());
    const std::string decoded = tokenizer.Decode(ids);
    Require(inhouse::base::IsValidUtf8(decoded));
    StreamDecoder stream(tokenizer);
    std::string streamed;
    for (const auto id : ids) streamed += stream.Push(id);
    streamed += stream.Finish();
    Require(streamed == decoded);
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  namespace fs = std::filesystem;
  static const fs::path directory =
      (fs::is_directory("/dev/shm") ? fs::path("/dev/shm") : fs::temp_directory_path()) /
      ("tokenizer_fuzz." + std::to_string(getpid()));
  fs::create_directories(directory);
  const std::string_view input(reinterpret_cast<const char*>(data), size);
  const size_t cut = std::min(input.find('\0'), input.size());
  std::ofstream(directory / "tokenizer.json", std::ios::binary) << input.substr(0, cut);
  auto spec = inhouse::engine::ReadTokenizerJson(directory.string());
  if (spec.ok()) {
    auto tokenizer = Tokenizer::Create(*std::move(spec));
    if (tokenizer.ok()) {
      RoundTrip(**tokenizer, cut < input.size() ? input.substr(cut + 1) : input);
      RoundTrip(**tokenizer, "abab  ab\n123 \xE4\xB8\xAD\xE6\x96\x87 it's <s>");
    }
  }
  fs::remove_all(directory);
  return 0;
}
