// tokenizer.json and tokenizer_config.json, as Hugging Face `tokenizers` and transformers read
// them, from a tokenizer that came out of a GGUF file.
#pragma once

#include <string>

#include "engine/tokenizer/tokenizer_spec.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

// Byte-level BPE with the spec's vocabulary, merges, added tokens, normalizer and pre-tokenizer.
// Added tokens stand in the vocabulary too, so that they keep their ids.
nlohmann::ordered_json TokenizerJson(const TokenizerSpec& spec);

// The names of the special tokens and the chat template.
nlohmann::ordered_json TokenizerConfigJson(const TokenizerSpec& spec);

}  // namespace inhouse::engine
