#include "apps/inhouse/chat_format.h"

#include <cstdio>
#include <iostream>

#include "apps/inhouse/verb.h"
#include "base/file.h"
#include "base/status.h"
#include "engine/runtime/tokenizer_loader.h"
#include "lifecycle/registry/resolve.h"

namespace inhouse::apps {
namespace {

constexpr uint64_t kMaxTemplate = 4u << 20;

std::string TokenText(const engine::TokenizerSpec& spec, int32_t id) {
  for (const engine::AddedToken& token : spec.added_tokens) {
    if (token.id == id) return token.content;
  }
  const bool known = id >= 0 && static_cast<size_t>(id) < spec.vocab.size();
  return known ? spec.vocab[static_cast<size_t>(id)] : "";
}

absl::StatusOr<ChosenFormat> FormatOfModel(const std::string& model) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string path, lifecycle::ResolveModel(model));
  INHOUSE_ASSIGN_OR_RETURN(const engine::TokenizerSpec spec, engine::ReadTokenizerSpec(path));
  if (spec.chat_template.empty()) {
    return base::InputError(absl::StatusCode::kNotFound,
                            {.file = spec.path,
                             .field = "chat_template",
                             .expected = "a template in the model's files",
                             .hint = "Name a native format with --format, or give --template"});
  }
  ChosenFormat chosen;
  INHOUSE_ASSIGN_OR_RETURN(chosen.format, engine::CreateJinjaFormat(spec.chat_template, spec.path));
  chosen.defaults.bos_token = TokenText(spec, spec.bos_id);
  chosen.defaults.eos_token = TokenText(spec, spec.eos_id);
  return chosen;
}

}  // namespace

void FormatFlags::Add(CLI::App& app) {
  auto* model_flag = app.add_option(
      "-m,--model", model, "directory, .gguf file or name in the store: its chat template");
  auto* template_flag = app.add_option("--template", template_file, "a Jinja chat template")
                            ->check(CLI::ExistingFile);
  std::string names;
  for (const std::string& name : engine::NativeFormatNames())
    names += (names.empty() ? "" : ", ") + name;
  auto* format_flag = app.add_option("--format", format, "a native format: " + names);
  model_flag->excludes(template_flag)->excludes(format_flag);
  template_flag->excludes(format_flag);
}

absl::StatusOr<ChosenFormat> ChooseFormat(const FormatFlags& flags) {
  ChosenFormat chosen;
  if (!flags.format.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(chosen.format, engine::CreateNativeFormat(flags.format));
  } else if (!flags.template_file.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(const std::string source,
                             base::ReadFile(flags.template_file, kMaxTemplate));
    INHOUSE_ASSIGN_OR_RETURN(chosen.format, engine::CreateJinjaFormat(source, flags.template_file));
  } else if (!flags.model.empty()) {
    return FormatOfModel(flags.model);
  }
  return chosen;
}

int AnswerLines(const std::function<std::string(const std::string&)>& answer) {
  std::ios::sync_with_stdio(false);
  std::string line;
  while (!Interrupted() && std::getline(std::cin, line)) {
    if (line.find_first_not_of(" \t\r") == line.npos) continue;
    const std::string out = answer(line) + "\n";
    if (std::fwrite(out.data(), 1, out.size(), stdout) != out.size()) return kFailed;
    std::fflush(stdout);  // a program may wait for this answer before it asks again
  }
  return Interrupted() ? kInterrupted : kDone;
}

}  // namespace inhouse::apps
