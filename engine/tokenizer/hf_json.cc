#include "engine/tokenizer/hf_json.h"

#include <filesystem>

#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kFileBytesMax = 256 << 20;
constexpr size_t kDepthMax = 64;
constexpr size_t kValuesMax = 16 << 20;  // the largest known file has one million

// Counts brackets and commas outside strings.
absl::Status CheckCost(const std::string& path, std::string_view text) {
  size_t depth = 0;
  size_t values = 1;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
      continue;
    }
    if (c == '"') in_string = true;
    if (c == ']' || c == '}') depth -= depth > 0 ? 1 : 0;
    if (c != '[' && c != '{' && c != ',') continue;
    ++values;
    depth += c == ',' ? 0 : 1;
    if (depth > kDepthMax || values > kValuesMax) {
      return base::InvalidInput({.file = path,
                                 .field = fmt::format("offset {}", i),
                                 .expected = fmt::format("JSON of at most {} levels and {} values",
                                                         kDepthMax, kValuesMax)});
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Json> ReadJsonFile(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kFileBytesMax));
  INHOUSE_RETURN_IF_ERROR(CheckCost(path, text));
  try {
    return Json::parse(text);
  } catch (const Json::exception& error) {
    return base::InvalidInput(
        {.file = path, .expected = fmt::format("JSON in UTF-8: {}", error.what())});
  }
}

const Json* Member(const Json& object, const char* key) {
  if (!object.is_object()) return nullptr;
  const auto found = object.find(key);
  return found == object.end() || found->is_null() ? nullptr : &*found;
}

std::optional<std::string> StringMember(const Json& object, const char* key) {
  const Json* member = Member(object, key);
  if (member == nullptr || !member->is_string()) return std::nullopt;
  return member->get_ref<const std::string&>();
}

bool BoolMember(const Json& object, const char* key, bool fallback) {
  const Json* member = Member(object, key);
  return member != nullptr && member->is_boolean() ? member->get<bool>() : fallback;
}

absl::Status BadField(const std::string& path, std::string field, const Json& value,
                      std::string expected) {
  std::string text;
  if (value.is_string()) {
    text = value.get_ref<const std::string&>();
  } else if (value.is_structured()) {
    text = fmt::format("{} of {}", value.type_name(), value.size());
  } else {
    text = value.dump(-1, ' ', false, Json::error_handler_t::replace);
  }
  return base::InvalidInput({.file = path,
                             .field = std::move(field),
                             .value = std::move(text),
                             .expected = std::move(expected)});
}

absl::StatusOr<TokenizerSpec> ReadTokenizerJson(const std::string& directory) {
  TokenizerSpec spec;
  spec.path = (std::filesystem::path(directory) / "tokenizer.json").string();
  {
    INHOUSE_ASSIGN_OR_RETURN(const Json root, ReadJsonFile(spec.path));
    if (!root.is_object()) return BadField(spec.path, "", root, "a JSON object");
    INHOUSE_RETURN_IF_ERROR(ReadNormalizer(root, &spec));
    INHOUSE_RETURN_IF_ERROR(ReadPreTokenizer(root, &spec));
    INHOUSE_RETURN_IF_ERROR(ReadModel(root, &spec));
    INHOUSE_RETURN_IF_ERROR(ReadAddedTokens(root, &spec));
    INHOUSE_RETURN_IF_ERROR(ReadPostProcessor(root, &spec));
  }
  INHOUSE_RETURN_IF_ERROR(ReadTokenizerConfig(directory, &spec));
  return spec;
}

}  // namespace inhouse::engine
