// The door for JSON bodies: what is not UTF-8, too deep or too dense is refused before a parser
// allocates for it.
#pragma once

#include <optional>
#include <string_view>

#include "model-server/api/error.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {

struct JsonLimits {
  int depth_max = 64;
  // A value of two bytes of text takes dozens in memory.
  size_t values_max = 2'000'000;
  // Ordered objects look keys up one after another.
  size_t keys_max = 1024;
};

// Parses a request's body, which must be an object. All errors are 400.
std::optional<ApiError> ParseBody(std::string_view body, const JsonLimits& limits,
                                  nlohmann::ordered_json* out);

}  // namespace inhouse::model_server
