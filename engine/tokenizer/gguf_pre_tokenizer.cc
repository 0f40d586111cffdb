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
constexpr std::string_view kHan = "[一-龥ࠀ-一가-퟿]+";
constexpr std::string_view kHanAndKana = "[一-龥぀-ゟ゠-ヿ]+";
constexpr std::string_view kDeepSeekLlmLetters =
    R"(\s?[A-Za-zµÀ-ÖØ-öø-ƺƼ-ƿǄ-ʓʕ-ʯͰ-ͳͶͷͻ-ͽͿΆΈ-ΊΌΎ-ΡΣ-ϵϷ-ҁҊ-ԯԱ-ՖႠ-ჅᎠ-Ᏽᏸ-ᏽᲐ-ᲺᲽ-Ჿᴀ-ᴫᵫ-ᵷᵹ-ᶚḀ-ἕἘ-Ἕἠ-ὅὈ-Ὅὐ-ὗὙὛὝὟ-ώᾀ-ᾴᾶ-ᾼιῂ-ῄῆ-ῌῐ-ΐῖ-Ίῠ-Ῥῲ-ῴῶ-ῼℂℇℊ-ℓℕℙ-ℝℤΩℨK-ℭℯ-ℴℹℼ-ℿⅅ-ⅉⅎↃↄⰀ-ⱻⱾ-ⳤⳫ-ⳮⳲⳳꙀ-ꙭꚀ-ꚛꜢ-ꝯꝱ-ꞇꞋ-ꞎꭰ-ꮿﬀ-ﬆﬓ-ﬗＡ-Ｚａ-ｚ𐐀-𐑏𐒰-𐓓𐓘-𐓻𐲀-𐲲𐳀-𐳲𑢠-𑣟𞤀-𞥃]+)";
constexpr std::string_view kDeepSeekLlmPunctuation = R"(\s?[!-/:-~！-／：-～‘-‟　-。]+)";

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
