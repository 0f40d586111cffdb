// The parts of ReadTokenizerJson, and how they look at JSON: by type checks, never by exceptions.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tokenizer/tokenizer_spec.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

using Json = nlohmann::json;

// Parses a file after a look at its size, its nesting and its number of values: what it may cost is
// known before a single node is made.
absl::StatusOr<Json> ReadJsonFile(const std::string& path);

// A member of an object; null if there is none or it is null.
const Json* Member(const Json& object, const char* key);
// The member if it is a string (bool); nothing otherwise.
std::optional<std::string> StringMember(const Json& object, const char* key);
bool BoolMember(const Json& object, const char* key, bool fallback);

// InvalidInput for a field; `value` is shown as JSON, cut to a readable length.
absl::Status BadField(const std::string& path, std::string field, const Json& value,
                      std::string expected);

// What each part of tokenizer.json adds to the spec (spec->path is the file).
absl::Status ReadModel(const Json& root, TokenizerSpec* spec);        // vocab, merges, ...
absl::Status ReadAddedTokens(const Json& root, TokenizerSpec* spec);  // after ReadModel
absl::Status ReadNormalizer(const Json& root, TokenizerSpec* spec);
absl::Status ReadPreTokenizer(const Json& root, TokenizerSpec* spec);
absl::Status ReadPostProcessor(const Json& root, TokenizerSpec* spec);

// tokenizer_config.json, special_tokens_map.json and chat_template.jinja beside it, where they
// exist; after all of the above.
absl::Status ReadTokenizerConfig(const std::string& directory, TokenizerSpec* spec);

}  // namespace inhouse::engine
