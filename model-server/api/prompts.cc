#include "model-server/api/prompts.h"

#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

bool ReadIds(const Json& list, const std::string& param, int64_t vocab_size, Fields* fields,
             std::vector<engine::TokenId>* out) {
  out->reserve(list.size());
  for (const Json& id : list) {
    if (!id.is_number_integer() || id.get<int64_t>() < 0 || id.get<int64_t>() >= vocab_size) {
      fields->Fail(InvalidRequest(
          param, std::string(kForeignIdCode),
          fmt::format("Invalid '{}': expected token ids from 0 to {}.", param, vocab_size - 1)));
      return false;
    }
    out->push_back(id.get<engine::TokenId>());
  }
  return true;
}

// One prompt of a list: text, or the ids of one.
bool ReadOnePrompt(const Json& value, const std::string& param, int64_t vocab_size, Fields* fields,
                   std::vector<TextOrIds>* out) {
  if (value.is_string()) {
    out->emplace_back(value.get<std::string>());
    return true;
  }
  if (!value.is_array() || value.empty()) {
    fields->Fail(InvalidRequest(
        param, "invalid_type",
        fmt::format("Invalid '{}': expected a string or a list of token ids that is not empty.",
                    param)));
    return false;
  }
  std::vector<engine::TokenId> ids;
  if (!ReadIds(value, param, vocab_size, fields, &ids)) return false;
  out->emplace_back(std::move(ids));
  return true;
}

}  // namespace

void ReadPrompts(std::string_view name, int64_t vocab_size, Fields* fields,
                 std::vector<TextOrIds>* out) {
  const Json* prompts = fields->Find(name);
  if (prompts == nullptr) return fields->FailRequired(name);
  const bool is_list = prompts->is_array() && !prompts->empty() &&
                       (prompts->front().is_string() || prompts->front().is_array());
  if (!is_list) {
    ReadOnePrompt(*prompts, std::string(name), vocab_size, fields, out);
    return;
  }
  out->reserve(prompts->size());
  for (size_t i = 0; i < prompts->size(); ++i) {
    if (!ReadOnePrompt((*prompts)[i], fmt::format("{}[{}]", name, i), vocab_size, fields, out)) {
      return;
    }
  }
}

}  // namespace inhouse::model_server
