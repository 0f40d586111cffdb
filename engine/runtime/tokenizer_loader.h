// From a checkpoint, or a path that holds only a tokenizer, to a Tokenizer.
#pragma once

#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/tokenizer/tokenizer.h"

namespace inhouse::engine {

// The tokenizer of an opened checkpoint: GGUF metadata, or tokenizer.json beside config.json.
// NotFound if it has none.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const Checkpoint& checkpoint);

// The same from a path: a directory (also with tokenizer.json only) or a .gguf file (also with its
// vocabulary only).
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadTokenizer(const std::string& path);

// Only what it is made of: cheaper when just the chat template or the special tokens are wanted.
absl::StatusOr<TokenizerSpec> ReadTokenizerSpec(const std::string& path);
absl::StatusOr<TokenizerSpec> TokenizerSpecOf(const GgufMetadata& gguf);

}  // namespace inhouse::engine
