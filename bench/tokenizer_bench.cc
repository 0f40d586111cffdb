// How fast one core tokenizes a text: tokenizer_bench MODEL FILE [REPEAT]
//
// Prints one JSON object: bytes, tokens, the time to load, and MB/s of encoding and decoding as
// min, median and max over the repeats. bench/peers/tokenizers_peer.py runs it beside Hugging Face
// `tokenizers`.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <string>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"

namespace inhouse::bench {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

std::string Speeds(std::vector<double> seconds, size_t bytes) {
  std::sort(seconds.begin(), seconds.end());
  const auto speed = [bytes](double s) { return static_cast<double>(bytes) / s / 1e6; };
  return fmt::format(R"({{"min": {:.2f}, "median": {:.2f}, "max": {:.2f}}})", speed(seconds.back()),
                     speed(seconds[seconds.size() / 2]), speed(seconds.front()));
}

absl::Status Run(const std::string& model, const std::string& file, int repeat) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(file));
  const Clock::time_point start = Clock::now();
  INHOUSE_ASSIGN_OR_RETURN(const auto tokenizer, engine::LoadTokenizer(model));
  const double load = SecondsSince(start);
  std::vector<double> encode, decode;
  std::vector<engine::TokenId> ids;
  const Clock::time_point cold_start = Clock::now();
  ids = tokenizer->Encode(text);
  const double cold = SecondsSince(cold_start);
  for (int i = 0; i < repeat; ++i) {
    const Clock::time_point encode_start = Clock::now();
    ids = tokenizer->Encode(text);
    encode.push_back(SecondsSince(encode_start));
    const Clock::time_point decode_start = Clock::now();
    const std::string back = tokenizer->Decode(ids);
    decode.push_back(SecondsSince(decode_start));
  }
  std::printf(
      "%s\n",
      fmt::format(R"({{"bytes": {}, "tokens": {}, "load_seconds": {:.3f}, "first_mb_s": {:.2f}, )"
                  R"("encode_mb_s": {}, "decode_mb_s": {}}})",
                  text.size(), ids.size(), load, static_cast<double>(text.size()) / cold / 1e6,
                  Speeds(encode, text.size()), Speeds(decode, text.size()))
          .c_str());
  return absl::OkStatus();
}

}  // namespace
}  // namespace inhouse::bench

int main(int argc, char** argv) {
  if (argc < 3) {
    std::fprintf(stderr, "usage: tokenizer_bench MODEL FILE [REPEAT]\n");
    return 2;
  }
  const int repeat = argc > 3 ? std::max(1, std::atoi(argv[3])) : 5;
  const absl::Status status = inhouse::bench::Run(argv[1], argv[2], repeat);
  if (!status.ok()) std::fprintf(stderr, "%s\n", inhouse::base::Message(status).c_str());
  return status.ok() ? 0 : 1;
}
