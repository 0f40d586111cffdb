// The prompts of a request, in the four forms that OpenAI takes: a string, a list of strings, the
// ids of one prompt, a list of such.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "engine/tokenizer/tokenizer.h"
#include "model-server/api/fields.h"

namespace inhouse::model_server {

using TextOrIds = std::variant<std::string, std::vector<engine::TokenId>>;

// The code of the error for an id that is not below `vocab_size`.
inline constexpr std::string_view kForeignIdCode = "invalid_token_ids";

// The member `name`, which is required. Ids must be below `vocab_size`.
void ReadPrompts(std::string_view name, int64_t vocab_size, Fields* fields,
                 std::vector<TextOrIds>* out);

}  // namespace inhouse::model_server
