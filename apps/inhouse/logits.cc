// inhouse logits: the raw distribution after a prompt, for tests and comparisons.
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include "apps/inhouse/engine_flags.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"

namespace inhouse::apps {
namespace {

struct LogitsFlags {
  engine::EngineOptions engine;
  std::string ids;
  std::string ids_file;
  bool all = false;
  int64_t chunk = 0;
};

absl::Status Logits(LogitsFlags& flags) {
  flags.engine.max_sequences = 1;
  flags.engine.need_tokenizer = false;
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<engine::TokenId> ids,
                           ParseIds(flags.ids, flags.ids_file));
  INHOUSE_ASSIGN_OR_RETURN(const auto engine, LoadEngine(flags.engine));
  INHOUSE_ASSIGN_OR_RETURN(
      const auto rows,
      engine->Logits(ids, {.all = flags.all, .chunk = flags.chunk, .adapter = AdapterOf(*engine)}));
  std::string out = "{\"logits\": [";
  for (size_t row = 0; row < rows.size(); ++row) {
    out += row == 0 ? "[" : ", [";
    for (size_t i = 0; i < rows[row].size(); ++i) {
      if (i > 0) out += ", ";
      AppendFloat(rows[row][i], &out);
    }
    out += "]";
    std::fwrite(out.data(), 1, out.size(), stdout);
    out.clear();
  }
  std::puts("]}");
  return absl::OkStatus();
}

}  // namespace

VerbRun SetUpLogits(CLI::App& app) {
  auto flags = std::make_shared<LogitsFlags>();
  AddEngineFlags(app, &flags->engine);
  AddAdapterFlag(app, &flags->engine);
  auto* source = app.add_option_group("prompt", "the prompt");
  source->add_option("--ids", flags->ids, "token ids: 1,2,3");
  source->add_option("--ids-file", flags->ids_file,
                     "a file with a JSON array of token ids (- = standard input)");
  source->require_option(1);
  app.add_flag("--all", flags->all, "a row for each position instead of the last one only");
  app.add_option("--chunk", flags->chunk,
                 "feed the prompt so many tokens at a time (1 = token by token)")
      ->check(CLI::Range(int64_t{1}, int64_t{1} << 32));
  return [flags] {
    const absl::Status status = Logits(*flags);
    return status.ok() ? int{kDone} : ReportError(status, true);
  };
}

}  // namespace inhouse::apps
