// What a tokenizer is made of, whatever file it came from.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::engine {

struct AddedToken {
  int32_t id = 0;
  std::string content = {};
  bool special = false;
  bool normalized = false;   // matched in the normalized text, in a second pass
  bool lstrip = false;       // swallows the white space before it
  bool rstrip = false;       // ... and after it
  bool single_word = false;  // only between characters that are not \w
};

// One step of the pre-tokenizer: cuts every piece that the steps before it made.
struct PreTokenizerStep {
  enum class Kind {
    kSplit,      // at the matches of `pattern`
    kDigits,     // at runs of digits, or at each digit
    kByteLevel,  // GPT-2's pattern (`use_regex`), a space in front (`add_prefix_space`); last step
  } kind = Kind::kSplit;
  // What becomes of the matches, as Hugging Face `tokenizers` names it.
  enum class Behavior {
    kIsolated,
    kRemoved,
    kMergedWithPrevious,
    kMergedWithNext,
    kContiguous
  } behavior = Behavior::kIsolated;
  std::string pattern = {};        // kSplit: a regex in Oniguruma's syntax
  bool invert = false;             // kSplit: the gaps are the matches
  bool individual_digits = false;  // kDigits
  bool use_regex = false;          // kByteLevel
  bool add_prefix_space = false;   // kByteLevel
};

struct TokenizerSpec {
  std::string path = {};  // named in messages
  // By id, in byte-level characters ("\u0120the"); "" = unused id.
  std::vector<std::string> vocab = {};
  std::vector<std::pair<std::string, std::string>> merges = {};  // in order of rank
  std::vector<AddedToken> added_tokens = {};
  std::vector<PreTokenizerStep> pre_tokenizer = {};
  bool nfc = false;                      // normalize to NFC first
  bool ignore_merges = false;            // a piece that is a token as a whole is that token
  int32_t unk_id = -1;                   // for a byte without a token; -1 = such bytes vanish
  bool fuse_unk = false;                 // one unk_id for a run of them
  std::vector<int32_t> prefix_ids = {};  // put before the text when special tokens are asked for
  std::vector<int32_t> suffix_ids = {};
  int32_t bos_id = -1;  // -1 = none
  int32_t eos_id = -1;
  int32_t pad_id = -1;
  // Jinja, from chat_template.jinja, tokenizer_config.json or GGUF; "" = none.
  std::string chat_template = {};
};

// From a Hugging Face directory: tokenizer.json, tokenizer_config.json (optional),
// special_tokens_map.json (optional), chat_template.jinja (optional; wins).
absl::StatusOr<TokenizerSpec> ReadTokenizerJson(const std::string& directory);

// The pre-tokenizer that a GGUF file's `tokenizer.ggml.pre` names ("deepseek-llm", "qwen2",
// "smollm", ...), with normalization and ignore_merges set too. InvalidArgument for an unknown
// name.
absl::Status SetGgufPreTokenizer(const std::string& name, TokenizerSpec* spec);

}  // namespace inhouse::engine
