// render: conversations to prompt text.
#include <cstdio>
#include <iostream>
#include <iterator>
#include <memory>

#include "apps/inhouse/chat_format.h"
#include "apps/inhouse/verb.h"
#include "base/status.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {
namespace {

struct Flags {
  FormatFlags format;
  bool jsonl = false;
  bool json = false;
};

// The line's own template, if it brings one.
std::optional<std::string> TemplateOf(const std::string& line) {
  const auto json = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return std::nullopt;
  const auto found = json.find("template");
  if (found == json.end() || !found->is_string()) return std::nullopt;
  return found->get<std::string>();
}

absl::StatusOr<std::string> RenderLine(const ChosenFormat& chosen, const std::string& line) {
  if (const auto source = TemplateOf(line)) {
    return engine::RenderTemplateJson(*source, "template", line);
  }
  if (chosen.format == nullptr) {
    return base::InvalidInput({.field = "template",
                               .expected = "a member \"template\" of the line, or one of --model, "
                                           "--template, --format"});
  }
  return chosen.format->RenderJson(line, chosen.defaults);
}

int RunOne(const ChosenFormat& chosen, bool json) {
  const std::string input((std::istreambuf_iterator<char>(std::cin)), {});
  const auto prompt = RenderLine(chosen, input);
  if (!prompt.ok()) return ReportError(prompt.status(), json);
  const std::string out =
      json ? nlohmann::ordered_json{{"prompt", *prompt}}.dump(-1, ' ', true) + "\n" : *prompt;
  std::fwrite(out.data(), 1, out.size(), stdout);
  return kDone;
}

int Run(const Flags& flags) {
  const auto chosen = ChooseFormat(flags.format);
  if (!chosen.ok()) return ReportError(chosen.status(), flags.json || flags.jsonl);
  if (!flags.jsonl) return RunOne(*chosen, flags.json);
  return AnswerLines([&](const std::string& line) {
    const auto prompt = RenderLine(*chosen, line);
    nlohmann::ordered_json out;
    if (prompt.ok()) {
      out["prompt"] = *prompt;
    } else {
      out["error"] = base::Message(prompt.status());
    }
    return out.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
  });
}

}  // namespace

VerbRun SetUpRender(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->format.Add(app);
  app.add_flag("--jsonl", flags->jsonl,
               "a JSON object a line on standard input, an answer a line; without it standard "
               "input is one object and the prompt is printed as it is");
  app.add_flag("--json", flags->json, "print the prompt as a JSON object");
  return [flags] { return Run(*flags); };
}

}  // namespace inhouse::apps
