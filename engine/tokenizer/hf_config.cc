// The files beside tokenizer.json: which tokens begin and end a text, and the chat template.
#include <algorithm>
#include <filesystem>
#include <unordered_map>

#include "base/file.h"
#include "base/status.h"
#include "engine/tokenizer/hf_json.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kTemplateBytesMax = 4 << 20;

// A special token: a string, or an AddedToken object.
std::optional<std::string> TokenText(const Json& config, const char* key) {
  if (const auto text = StringMember(config, key)) return text;
  const Json* object = Member(config, key);
  return object == nullptr ? std::nullopt : StringMember(*object, "content");
}

// The id of a token text; -1 if the tokenizer does not have it.
int32_t IdOf(const TokenizerSpec& spec, const std::string& text) {
  for (const AddedToken& token : spec.added_tokens) {
    if (token.content == text) return token.id;
  }
  const auto found = std::find(spec.vocab.begin(), spec.vocab.end(), text);
  return found == spec.vocab.end() ? -1 : static_cast<int32_t>(found - spec.vocab.begin());
}

void ReadSpecialIds(const Json& config, TokenizerSpec* spec) {
  const std::pair<const char*, int32_t*> targets[] = {
      {"bos_token", &spec->bos_id}, {"eos_token", &spec->eos_id}, {"pad_token", &spec->pad_id}};
  for (const auto& [key, id] : targets) {
    if (*id >= 0) continue;
    if (const auto text = TokenText(config, key); text.has_value() && !text->empty()) {
      *id = IdOf(*spec, *text);
    }
  }
}

// add_bos_token and add_eos_token. True adds the token unless the post-processor does. False takes
// it away only where the class rebuilds the post-processor from the two flags (Llama's); the
// others leave the post-processor of the file alone (transformers 4, tokenization_llama_fast.py).
absl::Status ReadAddFlags(const Json& config, const std::string& path, TokenizerSpec* spec) {
  const std::string class_name = StringMember(config, "tokenizer_class").value_or("");
  const bool rebuilds = class_name.rfind("LlamaTokenizer", 0) == 0;
  const auto apply = [&](const char* key, int32_t id, std::vector<int32_t>* ids,
                         bool at_front) -> absl::Status {
    const Json* flag = Member(config, key);
    if (flag == nullptr) return absl::OkStatus();
    if (!flag->is_boolean()) return BadField(path, key, *flag, "true or false");
    if (id < 0) return absl::OkStatus();
    const bool has = !ids->empty() && (at_front ? ids->front() : ids->back()) == id;
    const auto place = at_front ? ids->begin() : ids->end();
    if (flag->get<bool>() && !has) ids->insert(place, id);
    if (!flag->get<bool>() && has && rebuilds) ids->erase(at_front ? place : place - 1);
    return absl::OkStatus();
  };
  INHOUSE_RETURN_IF_ERROR(apply("add_bos_token", spec->bos_id, &spec->prefix_ids, true));
  return apply("add_eos_token", spec->eos_id, &spec->suffix_ids, false);
}

// A string, or a list of {"name", "template"} of which "default" counts.
absl::Status ReadChatTemplate(const Json& config, const std::string& path, TokenizerSpec* spec) {
  const Json* value = Member(config, "chat_template");
  if (value == nullptr) return absl::OkStatus();
  if (value->is_string()) {
    spec->chat_template = value->get_ref<const std::string&>();
    return absl::OkStatus();
  }
  if (!value->is_array()) return BadField(path, "chat_template", *value, "a string or a list");
  for (const Json& item : *value) {
    if (StringMember(item, "name") == "default") {
      spec->chat_template = StringMember(item, "template").value_or("");
    }
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadTokenizerConfig(const std::string& directory, TokenizerSpec* spec) {
  namespace fs = std::filesystem;
  std::error_code ignored;
  const fs::path config_path = fs::path(directory) / "tokenizer_config.json";
  if (fs::exists(config_path, ignored)) {
    INHOUSE_ASSIGN_OR_RETURN(const Json config, ReadJsonFile(config_path.string()));
    if (!config.is_object()) return BadField(config_path.string(), "", config, "a JSON object");
    ReadSpecialIds(config, spec);
    INHOUSE_RETURN_IF_ERROR(ReadAddFlags(config, config_path.string(), spec));
    INHOUSE_RETURN_IF_ERROR(ReadChatTemplate(config, config_path.string(), spec));
  }
  const fs::path map_path = fs::path(directory) / "special_tokens_map.json";
  if (fs::exists(map_path, ignored)) {
    INHOUSE_ASSIGN_OR_RETURN(const Json map, ReadJsonFile(map_path.string()));
    ReadSpecialIds(map, spec);
  }
  const fs::path template_path = fs::path(directory) / "chat_template.jinja";
  if (fs::exists(template_path, ignored)) {
    INHOUSE_ASSIGN_OR_RETURN(spec->chat_template,
                             base::ReadFile(template_path.string(), kTemplateBytesMax));
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
