// Text <-> token ids. Byte-level BPE as in Hugging Face `tokenizers` (tokenizer.json) and GGUF's
// "gpt2" model.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_spec.h"

namespace inhouse::engine {

using TokenId = int32_t;

struct EncodeOptions {
  bool add_special_tokens = false;  // BOS / EOS as the files configure them
  bool parse_special = true;        // text that spells an added token becomes that token
};

// Immutable after Create; any thread may call any method (Encode uses thread-local scratch).
class Tokenizer {
 public:
  // From a spec (see tokenizer_spec.h for where specs come from). Errors name the file and the
  // field.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Create(TokenizerSpec spec);
  ~Tokenizer();

  // Invalid UTF-8 in `text` is read as U+FFFD, one for each maximal subpart, as Python and the
  // Unicode standard do it.
  std::vector<TokenId> Encode(std::string_view text, const EncodeOptions& options = {}) const;

  // The bytes of all tokens joined, invalid UTF-8 replaced by U+FFFD. Ids outside the vocabulary
  // give nothing.
  std::string Decode(std::span<const TokenId> ids, bool skip_special_tokens = false) const;

  int64_t vocab_size() const;  // largest id + 1
  // The raw bytes of one token (an added token's literal content); empty for unused ids.
  std::string_view TokenBytes(TokenId id) const;
  bool IsSpecial(TokenId id) const;  // special: skipped by skip_special_tokens
  // The token that spells exactly these bytes; of an added and a normal one the added one.
  std::optional<TokenId> TokenToId(std::string_view content) const;

  std::optional<TokenId> bos() const;
  std::optional<TokenId> eos() const;
  bool adds_bos() const;
  // Vocabulary and merges are dropped after Create; the rest stays.
  const TokenizerSpec& spec() const;

 private:
  struct Impl;
  explicit Tokenizer(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

// Decodes a stream of ids piece by piece, never splitting a character. One per stream; not
// thread-safe. The tokenizer must outlive it.
class StreamDecoder {
 public:
  explicit StreamDecoder(const Tokenizer& tokenizer, bool skip_special_tokens = false);
  // The text that became complete with this id; may be empty.
  std::string Push(TokenId id);
  // What was held back, with U+FFFD for what never became a character.
  std::string Finish();

 private:
  const Tokenizer* tokenizer_;
  bool skip_special_tokens_;
  std::string pending_;  // at most three bytes between calls
};

}  // namespace inhouse::engine
