// JSON into values, and values into JSON as Python's json.dumps writes it.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/prompt/jinja/value.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine::jinja {

struct JsonStyle {
  bool ensure_ascii = false;
  bool sort_keys = false;
  std::optional<std::string> indent = std::nullopt;  // one level
  std::string item_separator = ", ";
  std::string key_separator = ": ";
};

std::string ToJson(const Value& value, const JsonStyle& style = {});

Value FromJson(const nlohmann::ordered_json& json);
// Integers keep all their digits; of members with the same name the last one counts. `what` names
// the text in messages.
absl::StatusOr<Value> ParseJson(std::string_view text, const std::string& what);

}  // namespace inhouse::engine::jinja
