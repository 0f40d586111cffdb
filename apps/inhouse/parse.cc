// parse: raw completions to reasoning, content and tool calls.
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
};

absl::StatusOr<nlohmann::ordered_json> ParseLine(const engine::ChatFormat& format,
                                                 const std::string& line) {
  const auto input = nlohmann::json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!input.is_object() || !input.contains("text") || !input["text"].is_string()) {
    return base::InvalidInput({.file = "input",
                               .value = line,
                               .expected = "{\"text\": \"...\", \"prompt_ends_in_think\": false}"});
  }
  const auto think = input.find("prompt_ends_in_think");
  if (think != input.end() && !think->is_boolean()) {
    return base::InvalidInput(
        {.file = "input", .field = "prompt_ends_in_think", .expected = "true or false"});
  }
  const engine::ParsedCompletion parsed =
      format.Parse(input["text"].get<std::string>(), think != input.end() && think->get<bool>());
  nlohmann::ordered_json out;
  out["reasoning"] = nullptr;
  if (parsed.reasoning) out["reasoning"] = *parsed.reasoning;
  out["content"] = parsed.content;
  out["tool_calls"] = nlohmann::ordered_json::array();
  for (const engine::ToolCall& call : parsed.tool_calls) {
    out["tool_calls"].push_back({{"name", call.name}, {"arguments", call.arguments}});
  }
  out["complete"] = parsed.complete;
  return out;
}

std::string Dump(const nlohmann::ordered_json& json) {
  return json.dump(-1, ' ', true, nlohmann::ordered_json::error_handler_t::replace);
}

int Run(const Flags& flags) {
  auto chosen = ChooseFormat(flags.format);
  if (!chosen.ok()) return ReportError(chosen.status(), true);
  if (chosen->format == nullptr) {
    return ReportError(
        base::InvalidInput({.field = "flags", .expected = "one of --model, --template, --format"}),
        true);
  }
  if (flags.jsonl) {
    return AnswerLines([&](const std::string& line) {
      const auto out = ParseLine(*chosen->format, line);
      return Dump(out.ok() ? *out : nlohmann::ordered_json{{"error", base::Message(out.status())}});
    });
  }
  const std::string input((std::istreambuf_iterator<char>(std::cin)), {});
  const auto out = ParseLine(*chosen->format, input);
  if (!out.ok()) return ReportError(out.status(), true);
  std::printf("%s\n", Dump(*out).c_str());
  return kDone;
}

}  // namespace

VerbRun SetUpParse(CLI::App& app) {
  auto flags = std::make_shared<Flags>();
  flags->format.Add(app);
  app.add_flag("--jsonl", flags->jsonl,
               "a JSON object a line on standard input, an answer a line; without it standard "
               "input is one object");
  return [flags] { return Run(*flags); };
}

}  // namespace inhouse::apps
