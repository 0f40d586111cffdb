// `model` and `added_tokens` of tokenizer.json.
#include <algorithm>
#include <unordered_map>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/tokenizer/byte_level.h"
#include "engine/tokenizer/hf_json.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Ids may leave holes, but not so many that a small file asks for a large table.
size_t IdLimit(size_t entries) { return 2 * entries + 65536; }

absl::StatusOr<int32_t> ReadId(const std::string& path, std::string field, const Json& value,
                               size_t limit) {
  if (!value.is_number_unsigned() || value.get<uint64_t>() >= limit) {
    return BadField(path, std::move(field), value, fmt::format("an id from 0 to {}", limit - 1));
  }
  return static_cast<int32_t>(value.get<uint64_t>());
}

absl::Status CheckModelType(const Json& model, const std::string& path) {
  // Old files leave the type out; merges tell BPE from the others.
  const std::string type =
      StringMember(model, "type").value_or(Member(model, "merges") != nullptr ? "BPE" : "");
  if (type != "BPE") {
    return base::InvalidInput(
        {.file = path,
         .field = "model.type",
         .value = type,
         .expected = "BPE",
         .hint = "Unigram (SentencePiece), WordPiece and WordLevel tokenizers are not read."});
  }
  for (const char* key : {"continuing_subword_prefix", "end_of_word_suffix"}) {
    const Json* value = Member(model, key);
    if (value != nullptr && *value != Json("")) {
      return BadField(path, fmt::format("model.{}", key), *value, "null or empty");
    }
  }
  const Json* dropout = Member(model, "dropout");
  if (dropout != nullptr && !(dropout->is_number() && dropout->get<double>() == 0)) {
    return BadField(path, "model.dropout", *dropout, "null or 0: ids must not depend on chance");
  }
  return absl::OkStatus();
}

absl::Status ReadVocab(const Json& model, TokenizerSpec* spec) {
  const Json* vocab = Member(model, "vocab");
  if (vocab == nullptr || !vocab->is_object() || vocab->empty()) {
    return BadField(spec->path, "model.vocab", vocab == nullptr ? Json() : *vocab,
                    "an object of token to id");
  }
  for (const auto& [token, value] : vocab->items()) {
    const std::string field = fmt::format("model.vocab: '{}'", token.substr(0, 64));
    INHOUSE_ASSIGN_OR_RETURN(const int32_t id,
                             ReadId(spec->path, field, value, IdLimit(vocab->size())));
    if (token.empty()) return BadField(spec->path, "model.vocab", value, "no empty token");
    const auto index = static_cast<size_t>(id);
    if (index >= spec->vocab.size()) spec->vocab.resize(index + 1);
    if (!spec->vocab[index].empty()) {
      return BadField(spec->path, field, value,
                      fmt::format("an id of its own; '{}' has it too", spec->vocab[index]));
    }
    spec->vocab[index] = token;
  }
  return absl::OkStatus();
}

absl::Status ReadMerges(const Json& model, TokenizerSpec* spec) {
  const Json* merges = Member(model, "merges");
  if (merges == nullptr || !merges->is_array()) {
    return BadField(spec->path, "model.merges", merges == nullptr ? Json() : *merges,
                    "an array of merge rules");
  }
  spec->merges.reserve(merges->size());
  for (const Json& rule : *merges) {
    const auto bad = [&] {
      return BadField(spec->path, fmt::format("model.merges: rule {}", spec->merges.size()), rule,
                      "two tokens: \"a b\" or [\"a\", \"b\"]");
    };
    if (rule.is_string()) {
      const auto& text = rule.get_ref<const std::string&>();
      if (text.rfind("#version", 0) == 0) continue;
      const size_t space = text.find(' ');
      if (space == 0 || space == std::string::npos || space + 1 == text.size() ||
          text.find(' ', space + 1) != std::string::npos) {
        return bad();
      }
      spec->merges.emplace_back(text.substr(0, space), text.substr(space + 1));
    } else if (rule.is_array() && rule.size() == 2 && rule[0].is_string() && rule[1].is_string()) {
      spec->merges.emplace_back(rule[0].get_ref<const std::string&>(),
                                rule[1].get_ref<const std::string&>());
    } else {
      return bad();
    }
  }
  return absl::OkStatus();
}

// Byte fallback asks for <0xNN> tokens where a character has none: it never comes to that if all
// 256 byte characters are tokens.
absl::Status CheckByteFallback(const Json& model, const TokenizerSpec& spec) {
  if (!BoolMember(model, "byte_fallback", false)) return absl::OkStatus();
  size_t bytes = 0;
  for (const std::string& token : spec.vocab) {
    const auto decoded = token.empty() ? std::nullopt : ByteLevelDecode(token);
    if (decoded.has_value() && decoded->size() == 1) ++bytes;
  }
  if (bytes == 256) return absl::OkStatus();
  return BadField(spec.path, "model.byte_fallback", true, "false for a byte-level vocabulary");
}

}  // namespace

absl::Status ReadModel(const Json& root, TokenizerSpec* spec) {
  const Json* model = Member(root, "model");
  if (model == nullptr || !model->is_object()) {
    return BadField(spec->path, "model", model == nullptr ? Json() : *model, "an object");
  }
  INHOUSE_RETURN_IF_ERROR(CheckModelType(*model, spec->path));
  INHOUSE_RETURN_IF_ERROR(ReadVocab(*model, spec));
  INHOUSE_RETURN_IF_ERROR(ReadMerges(*model, spec));
  INHOUSE_RETURN_IF_ERROR(CheckByteFallback(*model, *spec));
  spec->ignore_merges = BoolMember(*model, "ignore_merges", false);
  spec->fuse_unk = BoolMember(*model, "fuse_unk", false);
  if (const auto unk = StringMember(*model, "unk_token"); unk.has_value() && !unk->empty()) {
    const auto found = std::find(spec->vocab.begin(), spec->vocab.end(), *unk);
    if (found == spec->vocab.end()) {
      return BadField(spec->path, "model.unk_token", *unk, "a token of the vocabulary");
    }
    spec->unk_id = static_cast<int32_t>(found - spec->vocab.begin());
  }
  return absl::OkStatus();
}

absl::Status ReadAddedTokens(const Json& root, TokenizerSpec* spec) {
  const Json* tokens = Member(root, "added_tokens");
  if (tokens == nullptr) return absl::OkStatus();
  if (!tokens->is_array()) return BadField(spec->path, "added_tokens", *tokens, "an array");
  std::unordered_map<std::string, int32_t> ids;
  for (size_t id = 0; id < spec->vocab.size(); ++id) {
    if (!spec->vocab[id].empty()) ids[spec->vocab[id]] = static_cast<int32_t>(id);
  }
  std::unordered_map<int32_t, std::string> used;
  const size_t limit = IdLimit(ids.size() + tokens->size());
  for (const Json& item : *tokens) {
    const auto content = StringMember(item, "content");
    if (!content.has_value()) {
      return BadField(spec->path, "added_tokens: content", item, "a string");
    }
    const std::string field = fmt::format("added_tokens: '{}': id", content->substr(0, 64));
    const Json* id_value = Member(item, "id");
    INHOUSE_ASSIGN_OR_RETURN(
        const int32_t id,
        ReadId(spec->path, field, id_value == nullptr ? Json() : *id_value, limit));
    if (content->empty()) continue;
    const auto index = static_cast<size_t>(id);
    const auto known = ids.find(*content);
    if (known != ids.end() && known->second != id) {
      return BadField(spec->path, field, id,
                      fmt::format("{}, as elsewhere in the file", known->second));
    }
    const bool taken = index < spec->vocab.size() && !spec->vocab[index].empty();
    if (known == ids.end() && (taken || used.count(id) != 0)) {
      return BadField(
          spec->path, field, id,
          fmt::format("an id of its own; '{}' has it too", taken ? spec->vocab[index] : used[id]));
    }
    ids[*content] = id;
    if (!used.emplace(id, *content).second) continue;  // the same token twice
    spec->added_tokens.push_back({.id = id,
                                  .content = *content,
                                  .special = BoolMember(item, "special", false),
                                  .normalized = BoolMember(item, "normalized", false),
                                  .lstrip = BoolMember(item, "lstrip", false),
                                  .rstrip = BoolMember(item, "rstrip", false),
                                  .single_word = BoolMember(item, "single_word", false)});
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
