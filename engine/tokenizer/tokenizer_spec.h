// What a tokenizer is made of, whatever file it came from.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace inhouse::engine {

struct AddedToken {
  int32_t id = 0;
  std::string content = {};
  bool special = false;
  bool normalized = false;
  bool lstrip = false;
  bool rstrip = false;
  bool single_word = false;
};

// One step of the pre-tokenizer: cuts every current piece into matches and gaps (both kept).
struct PreTokenizerStep {
  enum class Kind { kSplitIsolated, kDigits, kByteLevelRegex } kind = Kind::kSplitIsolated;
  std::string pattern = {};        // kSplitIsolated: a regex in Oniguruma/PCRE syntax
  bool individual_digits = false;  // kDigits
};

struct TokenizerSpec {
  std::string path = {};  // named in messages
  std::vector<std::string> vocab =
      {};  // by id, in byte-level characters ("\u0120the"); "" = unused id
  std::vector<std::pair<std::string, std::string>> merges = {};  // in order of rank
  std::vector<AddedToken> added_tokens = {};
  std::vector<PreTokenizerStep> pre_tokenizer = {};
  bool nfc = false;            // normalize to NFC first
  bool ignore_merges = false;  // a piece that is a token as a whole is that token
  bool add_prefix_space = false;
  std::vector<int32_t> prefix_ids = {};  // put before the text when special tokens are asked for
  std::vector<int32_t> suffix_ids = {};
  int32_t bos_id = -1;  // -1 = none
  int32_t eos_id = -1;
  int32_t pad_id = -1;
  std::string chat_template =
      {};  // Jinja, from tokenizer_config.json, chat_template.jinja or GGUF; "" = none
};

// From a Hugging Face directory: tokenizer.json, tokenizer_config.json (optional),
// chat_template.jinja (optional; wins), special token strings as plain strings or AddedToken
// objects.
absl::StatusOr<TokenizerSpec> ReadTokenizerJson(const std::string& directory);

// The pre-tokenizer that a GGUF file's `tokenizer.ggml.pre` names ("deepseek-llm", "qwen2",
// "smollm", ...), with normalization and ignore_merges set too. InvalidArgument for an unknown
// name.
absl::Status SetGgufPreTokenizer(const std::string& name, TokenizerSpec* spec);

}  // namespace inhouse::engine
