#include "model-server/api/json_limits.h"

#include <string>
#include <vector>

#include "base/utf8.h"
#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

ApiError NotParsed(const std::string& why) {
  return InvalidRequest("", "invalid_json",
                        "We could not parse the JSON body of your request: " + why +
                            " (The body of this request must be one JSON object in UTF-8.)");
}

// The index of the quote that ends the string which starts at `begin`.
size_t SkipString(std::string_view text, size_t begin) {
  for (size_t i = begin + 1; i < text.size(); ++i) {
    if (text[i] == '\\') {
      ++i;
    } else if (text[i] == '"') {
      return i;
    }
  }
  return text.size();
}

// One pass over the brackets and commas; whether it is JSON at all is the parser's question.
std::optional<ApiError> CheckLimits(std::string_view text, const JsonLimits& limits) {
  struct Level {
    bool object;
    size_t members;
  };
  std::vector<Level> levels;
  size_t values = 0;
  for (size_t i = 0; i < text.size(); ++i) {
    switch (text[i]) {
      case '"':
        i = SkipString(text, i);
        break;
      case '{':
      case '[':
        levels.push_back({text[i] == '{', 1});
        ++values;
        if (levels.size() > static_cast<size_t>(limits.depth_max)) {
          return NotParsed(fmt::format("it is nested deeper than {} levels.", limits.depth_max));
        }
        break;
      case '}':
      case ']':
        if (!levels.empty()) levels.pop_back();
        break;
      case ',':
        ++values;
        if (!levels.empty() && ++levels.back().members > limits.keys_max && levels.back().object) {
          return NotParsed(fmt::format("an object has more than {} members.", limits.keys_max));
        }
        break;
      default:
        break;
    }
    if (values > limits.values_max) {
      return NotParsed(fmt::format("it has more than {} values.", limits.values_max));
    }
  }
  return std::nullopt;
}

}  // namespace

std::optional<ApiError> ParseBody(std::string_view body, const JsonLimits& limits,
                                  nlohmann::ordered_json* out) {
  if (body.empty()) return NotParsed("it is empty.");
  if (!base::IsValidUtf8(body)) return NotParsed("it is not valid UTF-8.");
  if (auto error = CheckLimits(body, limits)) return error;
  try {
    *out = nlohmann::ordered_json::parse(body);
  } catch (const nlohmann::json::exception& error) {
    // "[json.exception.parse_error.101] parse error at line 1, column 2: ..." without its brackets.
    const std::string_view what = error.what();
    const size_t begin = what.find("] ");
    std::string why(begin == std::string_view::npos ? what : what.substr(begin + 2));
    if (why.size() > 300) why.resize(300);
    return NotParsed(base::ReplaceInvalidUtf8(why) + ".");
  }
  if (!out->is_object()) return NotParsed(fmt::format("it is of type {}.", out->type_name()));
  return std::nullopt;
}

}  // namespace inhouse::model_server
