// What the names in a GGUF file's `tokenizer.ggml.pre` stand for: the pre-tokenizer of the model
// family's own tokenizer.json. Names: llama.cpp, llama-vocab.cpp.
#include <array>
#include <iterator>

#include "base/status.h"
#include "engine/tokenizer/splitter.h"
#include "engine/tokenizer/tokenizer_spec.h"

namespace inhouse::engine {
namespace {

using Kind = PreTokenizerStep::Kind;

PreTokenizerStep Split(std::string_view pattern) {
  return {.kind = Kind::kSplit, .pattern = std::string(pattern)};
}

PreTokenizerStep ByteLevel(bool use_regex) {
  return {.kind = Kind::kByteLevel, .use_regex = use_regex};
}

PreTokenizerStep EachDigit() { return {.kind = Kind::kDigits, .individual_digits = true}; }

constexpr std::string_view kLineEnd = R"([\r\n])";
// Han, and everything from Samaritan up to Han, and Hangul: as the files have it.
constexpr std::string_view kHan = R"([\x{4E00}-\x{9FA5}\x{800}-\x{4E00}\x{AC00}-\x{D7FF}]+)";
constexpr std::string_view kHanAndKana =
    R"([\x{4E00}-\x{9FA5}\x{3040}-\x{309F}\x{30A0}-\x{30FF}]+)";
constexpr std::string_view kDeepSeekLlmLetters =
    R"(\s?[)"
    R"(A-Za-z\x{B5}\x{C0}-\x{D6}\x{D8}-\x{F6}\x{F8}-\x{1BA}\x{1BC}-\x{1BF}\x{1C4}-\x{293})"
    R"(\x{295}-\x{2AF}\x{370}-\x{373}\x{376}\x{377}\x{37B}-\x{37D}\x{37F}\x{386})"
    R"(\x{388}-\x{38A}\x{38C}\x{38E}-\x{3A1}\x{3A3}-\x{3F5}\x{3F7}-\x{481}\x{48A}-\x{52F})"
    R"(\x{531}-\x{556}\x{10A0}-\x{10C5}\x{13A0}-\x{13F5}\x{13F8}-\x{13FD}\x{1C90}-\x{1CBA})"
    R"(\x{1CBD}-\x{1CBF}\x{1D00}-\x{1D2B}\x{1D6B}-\x{1D77}\x{1D79}-\x{1D9A})"
    R"(\x{1E00}-\x{1F15}\x{1F18}-\x{1F1D}\x{1F20}-\x{1F45}\x{1F48}-\x{1F4D})"
    R"(\x{1F50}-\x{1F57}\x{1F59}\x{1F5B}\x{1F5D}\x{1F5F}-\x{1F7D}\x{1F80}-\x{1FB4})"
    R"(\x{1FB6}-\x{1FBC}\x{1FBE}\x{1FC2}-\x{1FC4}\x{1FC6}-\x{1FCC}\x{1FD0}-\x{1FD3})"
    R"(\x{1FD6}-\x{1FDB}\x{1FE0}-\x{1FEC}\x{1FF2}-\x{1FF4}\x{1FF6}-\x{1FFC}\x{2102}\x{2107})"
    R"(\x{210A}-\x{2113}\x{2115}\x{2119}-\x{211D}\x{2124}\x{2126}\x{2128}\x{212A}-\x{212D})"
    R"(\x{212F}-\x{2134}\x{2139}\x{213C}-\x{213F}\x{2145}-\x{2149}\x{214E}\x{2183}\x{2184})"
    R"(\x{2C00}-\x{2C7B}\x{2C7E}-\x{2CE4}\x{2CEB}-\x{2CEE}\x{2CF2}\x{2CF3}\x{A640}-\x{A66D})"
    R"(\x{A680}-\x{A69B}\x{A722}-\x{A76F}\x{A771}-\x{A787}\x{A78B}-\x{A78E})"
    R"(\x{AB70}-\x{ABBF}\x{FB00}-\x{FB06}\x{FB13}-\x{FB17}\x{FF21}-\x{FF3A})"
    R"(\x{FF41}-\x{FF5A}\x{10400}-\x{1044F}\x{104B0}-\x{104D3}\x{104D8}-\x{104FB})"
    R"(\x{10C80}-\x{10CB2}\x{10CC0}-\x{10CF2}\x{118A0}-\x{118DF}\x{1E900}-\x{1E943})"
    R"(]+)";
constexpr std::string_view kDeepSeekLlmPunctuation =
    R"(\s?[!-/:-~\x{FF01}-\x{FF0F}\x{FF1A}-\x{FF5E}\x{2018}-\x{201F}\x{3000}-\x{3002}]+)";

void SetDeepSeekLlm(TokenizerSpec* spec) {
  spec->pre_tokenizer = {Split(kLineEnd),
                         Split(kDeepSeekLlmLetters),
                         Split(kDeepSeekLlmPunctuation),
                         Split(R"(\s+$)"),
                         Split(kHan),
                         EachDigit(),
                         ByteLevel(false)};
}

void SetDeepSeekCoder(TokenizerSpec* spec) {
  spec->pre_tokenizer = {Split(kLineEnd), Split(R"(\s?\p{L}+)"), Split(R"(\s?\p{P}+)"),
                         Split(kHan),     EachDigit(),           ByteLevel(false)};
}

void SetDeepSeekV3(TokenizerSpec* spec) {
  spec->pre_tokenizer = {Split(R"(\p{N}{1,3})"), Split(kHanAndKana), Split(kDeepSeekV3Pattern),
                         ByteLevel(false)};
}

void SetQwen2(TokenizerSpec* spec) {
  spec->pre_tokenizer = {Split(kQwen2Pattern), ByteLevel(false)};
  spec->nfc = true;
}

void SetLlama3(TokenizerSpec* spec) {
  spec->pre_tokenizer = {Split(kLlama3Pattern), ByteLevel(false)};
  spec->ignore_merges = true;
}

void SetGpt2(TokenizerSpec* spec) { spec->pre_tokenizer = {ByteLevel(true)}; }

void SetSmollm(TokenizerSpec* spec) { spec->pre_tokenizer = {EachDigit(), ByteLevel(true)}; }

struct Family {
  std::string_view name;
  void (*set)(TokenizerSpec* spec);
};

constexpr Family kFamilies[] = {
    {"deepseek-llm", SetDeepSeekLlm},
    {"deepseek-coder", SetDeepSeekCoder},
    {"deepseek-v3", SetDeepSeekV3},
    {"joyai-llm", SetDeepSeekV3},
    {"qwen2", SetQwen2},
    {"deepseek-r1-qwen", SetQwen2},
    {"llama-bpe", SetLlama3},
    {"llama3", SetLlama3},
    {"llama-v3", SetLlama3},
    {"smollm", SetSmollm},
    {"starcoder", SetSmollm},
    {"refact", SetSmollm},
    {"command-r", SetSmollm},
    {"gpt-2", SetGpt2},
    {"gpt2", SetGpt2},
    {"phi-2", SetGpt2},
};

}  // namespace

absl::Status SetGgufPreTokenizer(const std::string& name, TokenizerSpec* spec) {
  std::string known;
  for (const Family& family : kFamilies) {
    if (family.name == name) {
      family.set(spec);
      return absl::OkStatus();
    }
    known += known.empty() ? "" : ", ";
    known += family.name;
  }
  return base::InvalidInput({.file = spec->path,
                             .field = "tokenizer.ggml.pre",
                             .value = name,
                             .expected = "one of " + known});
}

}  // namespace inhouse::engine
