// inhouse tokenize: text to token ids.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/jsonl.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "base/utf8.h"
#include "engine/runtime/tokenizer_loader.h"
#include "fmt/format.h"
#include "lifecycle/registry/resolve.h"

namespace inhouse::apps {
namespace {

struct TokenizeFlags {
  std::string model = {};
  std::string text = {};
  bool has_text = false;
  bool add_special_tokens = false;
  bool no_parse_special = false;
  bool pieces = false;
  bool jsonl = false;
  bool json = false;
};

void AppendIds(const std::vector<engine::TokenId>& ids, std::string_view separator,
               std::string* out) {
  for (size_t i = 0; i < ids.size(); ++i) {
    if (i > 0) *out += separator;
    fmt::format_to(std::back_inserter(*out), "{}", ids[i]);
  }
}

std::string IdsAsJson(const std::vector<engine::TokenId>& ids) {
  std::string out = "{\"ids\": [";
  AppendIds(ids, ", ", &out);
  return out += "]}";
}

int TokenizeLines(const engine::Tokenizer& tokenizer) {
  return ForEachJsonLine([&](const nlohmann::json& request, std::string* line) -> absl::Status {
    engine::EncodeOptions options;
    INHOUSE_ASSIGN_OR_RETURN(const std::string text, RequiredString(request, "text"));
    INHOUSE_ASSIGN_OR_RETURN(options.add_special_tokens,
                             BoolOr(request, "add_special_tokens", false));
    INHOUSE_ASSIGN_OR_RETURN(options.parse_special, BoolOr(request, "parse_special", true));
    *line = IdsAsJson(tokenizer.Encode(text, options));
    return absl::OkStatus();
  });
}

// One id and what it spells a line; a part of a character shows its bytes.
std::string Pieces(const engine::Tokenizer& tokenizer, const std::vector<engine::TokenId>& ids) {
  std::string out;
  for (const engine::TokenId id : ids) {
    const std::string_view bytes = tokenizer.TokenBytes(id);
    fmt::format_to(std::back_inserter(out), "{:>8}  ", id);
    if (base::IsValidUtf8(bytes)) {
      AppendJsonString(bytes, &out);
    } else {
      out += "bytes";
      for (const char c : bytes) {
        fmt::format_to(std::back_inserter(out), " {:02x}", static_cast<unsigned char>(c));
      }
    }
    out += '\n';
  }
  return out;
}

absl::StatusOr<int> Tokenize(const TokenizeFlags& flags) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string path, lifecycle::ResolveModel(flags.model));
  INHOUSE_ASSIGN_OR_RETURN(const std::unique_ptr<engine::Tokenizer> tokenizer,
                           engine::LoadTokenizer(path));
  if (flags.jsonl) return TokenizeLines(*tokenizer);
  std::string text = flags.text;
  if (!flags.has_text) {
    text.assign(std::istreambuf_iterator<char>(std::cin), std::istreambuf_iterator<char>());
  }
  const std::vector<engine::TokenId> ids = tokenizer->Encode(
      text,
      {.add_special_tokens = flags.add_special_tokens, .parse_special = !flags.no_parse_special});
  std::string out;
  if (flags.json) {
    out = IdsAsJson(ids) + "\n";
  } else if (flags.pieces) {
    out = Pieces(*tokenizer, ids);
  } else {
    AppendIds(ids, ",", &out);
    out += '\n';
  }
  return std::fwrite(out.data(), 1, out.size(), stdout) == out.size() ? kDone : kFailed;
}

}  // namespace

VerbRun SetUpTokenize(CLI::App& app) {
  auto flags = std::make_shared<TokenizeFlags>();
  app.add_option("-m,--model", flags->model,
                 "directory with tokenizer.json, .gguf file, or a name of the local store")
      ->required();
  auto* text = app.add_option("text", flags->text, "the text (default: standard input)");
  app.add_flag("--add-special-tokens", flags->add_special_tokens,
               "BOS and EOS as the model's files configure them");
  app.add_flag("--no-parse-special", flags->no_parse_special,
               "text that spells a special token stays text");
  auto* pieces = app.add_flag("-p,--pieces", flags->pieces, "an id and what it spells a line");
  auto* jsonl =
      app.add_flag("--jsonl", flags->jsonl,
                   R"(a line {"text": ..., "add_special_tokens": false, "parse_special": )"
                   R"(true} on standard input gives a line {"ids": [...]})");
  app.add_flag("--json", flags->json, "print a JSON object")->excludes(pieces);
  jsonl->excludes(text)->excludes(pieces);
  return [flags, text] {
    flags->has_text = text->count() > 0;
    const absl::StatusOr<int> code = Tokenize(*flags);
    return code.ok() ? *code : ReportError(code.status(), flags->json || flags->jsonl);
  };
}

}  // namespace inhouse::apps
