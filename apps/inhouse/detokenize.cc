// inhouse detokenize: token ids to text.
#include <cstdint>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/jsonl.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"

namespace inhouse::apps {
namespace {

struct DetokenizeFlags {
  std::string model = {};
  std::vector<int64_t> ids = {};
  bool skip_special_tokens = false;
  bool jsonl = false;
  bool json = false;
};

// An id that no token has decodes to nothing, as in the reference; what cannot be an id is refused.
absl::StatusOr<engine::TokenId> CheckedId(int64_t id) {
  if (id >= 0 && id <= INT32_MAX) return static_cast<engine::TokenId>(id);
  return base::InvalidInput({.field = "ids",
                             .value = std::to_string(id),
                             .expected = fmt::format("ids from 0 to {}", INT32_MAX)});
}

absl::StatusOr<std::vector<engine::TokenId>> IdsOf(const nlohmann::json& request) {
  const auto found = request.find("ids");
  const absl::Status bad =
      base::InvalidInput({.field = "ids", .expected = "an array of token ids"});
  if (found == request.end() || !found->is_array()) return bad;
  std::vector<engine::TokenId> ids;
  ids.reserve(found->size());
  for (const nlohmann::json& item : *found) {
    if (!item.is_number_integer()) return bad;
    const bool huge = item.is_number_unsigned() && item.get<uint64_t>() > INT64_MAX;
    INHOUSE_ASSIGN_OR_RETURN(const engine::TokenId id,
                             CheckedId(huge ? INT64_MAX : item.get<int64_t>()));
    ids.push_back(id);
  }
  return ids;
}

// What a streaming client would see: a text for each id, then what is left.
std::string StreamedPieces(const engine::Tokenizer& tokenizer,
                           const std::vector<engine::TokenId>& ids, bool skip_special_tokens) {
  engine::StreamDecoder decoder(tokenizer, skip_special_tokens);
  std::string out = "{\"pieces\": [";
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) out += ", ";
    AppendJsonString(decoder.Push(ids[i]), &out);
  }
  out += "], \"tail\": ";
  AppendJsonString(decoder.Finish(), &out);
  return out += "}";
}

std::string TextAsJson(std::string_view text) {
  std::string out = "{\"text\": ";
  AppendJsonString(text, &out);
  return out += "}";
}

int DetokenizeLines(const engine::Tokenizer& tokenizer) {
  return ForEachJsonLine([&](const nlohmann::json& request, std::string* line) -> absl::Status {
    INHOUSE_ASSIGN_OR_RETURN(const auto ids, IdsOf(request));
    INHOUSE_ASSIGN_OR_RETURN(const bool skip, BoolOr(request, "skip_special_tokens", false));
    INHOUSE_ASSIGN_OR_RETURN(const bool stream, BoolOr(request, "stream", false));
    *line = stream ? StreamedPieces(tokenizer, ids, skip) : TextAsJson(tokenizer.Decode(ids, skip));
    return absl::OkStatus();
  });
}

absl::StatusOr<int> Detokenize(const DetokenizeFlags& flags) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string path, lifecycle::ResolveModel(flags.model));
  INHOUSE_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Tokenizer> tokenizer,
                           engine::LoadTokenizer(path));
  if (flags.jsonl) return DetokenizeLines(*tokenizer);
  std::vector<engine::TokenId> ids;
  for (const int64_t value : flags.ids) {
    INHOUSE_ASSIGN_OR_RETURN(const engine::TokenId id, CheckedId(value));
    ids.push_back(id);
  }
  std::string text = tokenizer->Decode(ids, flags.skip_special_tokens);
  if (flags.json) text = TextAsJson(text);
  text += '\n';
  return std::fwrite(text.data(), 1, text.size(), stdout) == text.size() ? kDone : kFailed;
}

}  // namespace

VerbRun SetUpDetokenize(CLI::App& app) {
  auto flags = std::make_shared<DetokenizeFlags>();
  app.add_option("-m,--model", flags->model,
                 "directory with tokenizer.json, .gguf file, or a name of the local store")
      ->required();
  auto* source = app.add_option_group("ids", "the token ids");
  source->add_option("ids,--ids", flags->ids, "token ids: 1,2,3")->delimiter(',');
  source->add_flag(
      "--jsonl", flags->jsonl,
      R"(a line {"ids": [...], "skip_special_tokens": false} on standard input gives a )"
      R"(line {"text": ...}; with "stream": true, {"pieces": [...], "tail": ...})");
  source->require_option(1);
  app.add_flag("--skip-special-tokens", flags->skip_special_tokens, "leave special tokens out");
  app.add_flag("--json", flags->json, "print a JSON object");
  return [flags] {
    const absl::StatusOr<int> code = Detokenize(*flags);
    return code.ok() ? *code : ReportError(code.status(), flags->json || flags->jsonl);
  };
}

}  // namespace inhouse::apps
