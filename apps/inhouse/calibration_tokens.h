// The tokens that `inhouse quantize` calibrates with: of a text, or of the model's own making.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/tokenizer/tokenizer.h"

namespace inhouse::apps {

// The first `count` tokens of a text file. InvalidArgument if it has fewer than `least`.
absl::StatusOr<std::vector<engine::TokenId>> TokensOfText(const engine::Checkpoint& checkpoint,
                                                          const std::string& file, int64_t count,
                                                          int64_t least);

struct OwnTokensOptions {
  std::string model;  // a path
  std::string isa;
  int threads = 0;
  int64_t count = 0;   // tokens in all, rounded up to whole answers
  int64_t length = 0;  // of one answer
};

// What the model writes when it is asked nothing, at temperature 1: its own idea of the texts that
// it was trained on, in its own languages. The same tokens at each call on one kernel level.
// ResourceExhausted if the model does not fit into memory; Cancelled after Ctrl-C.
absl::StatusOr<std::vector<engine::TokenId>> OwnTokens(const OwnTokensOptions& options);

}  // namespace inhouse::apps
