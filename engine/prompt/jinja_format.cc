#include "base/status.h"
#include "engine/prompt/chat.h"
#include "engine/prompt/format_base.h"
#include "engine/prompt/jinja/template.h"

namespace inhouse::engine {
namespace {

// Small limits: a probe that goes wrong must not cost much.
constexpr jinja::Limits kProbeLimits = {.steps_max = 200'000, .output_bytes_max = 1u << 20};

class JinjaFormat : public FormatBase {
 public:
  JinjaFormat(std::unique_ptr<jinja::Template> source, std::string_view completions)
      : FormatBase("jinja+" + std::string(completions), *FindCompletionStyle(completions)),
        template_(std::move(source)) {}

  // Finds out by trial how the template wants tool calls: templates differ in whether arguments are
  // text or an object, and whether missing content is none or "".
  void Probe(const std::string& source) {
    style_.developer = source.find("developer") != source.npos;
    AddToolPrompt(source.find("tools") != source.npos);
    if (source.find("tool_calls") == source.npos) {
      style_.null_content = false;  // it does not know that content may be missing
      return;
    }
    for (const bool object : {false, true}) {
      for (const bool null : {true, false}) {
        style_.object_arguments = object;
        style_.null_content = null;
        if (ProbeCall()) return;
      }
    }
    style_.object_arguments = false;
    style_.null_content = true;
  }

 private:
  // Whether a call comes out with its name and its arguments as JSON that is not quoted again.
  bool ProbeCall() const {
    const std::vector<ChatMessage> messages = {
        {.role = "user", .content = "U"},
        {.role = "assistant",
         .tool_calls = {{.id = "call00001", .name = "probe_name", .arguments = "{\"k\": \"v\"}"}}},
        {.role = "tool", .content = "R", .tool_call_id = "call00001"},
    };
    const auto prompt =
        template_->Render(*VariablesOf(messages, ChatOptions{}, style_), kProbeLimits);
    if (!prompt.ok() || prompt->find("probe_name") == prompt->npos) return false;
    if (prompt->find("None") != prompt->npos)
      return false;  // content that is printed as Python's None
    // As JSON, or (Qwen3-Coder, DSML) with the members apart.
    return prompt->find("\\\"k\\\"") == prompt->npos && prompt->find("{'k'") == prompt->npos;
  }

  absl::StatusOr<std::string> RenderVariables(const jinja::DictObject& variables) const override {
    return template_->Render(variables);
  }

  const std::unique_ptr<jinja::Template> template_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<ChatFormat>> CreateJinjaFormat(const std::string& template_source,
                                                              const std::string& path) {
  auto compiled = jinja::Template::Compile(template_source, path);
  if (!compiled.ok()) return compiled.status();
  auto format =
      std::make_unique<JinjaFormat>(*std::move(compiled), StyleOfTemplate(template_source));
  format->Probe(template_source);
  return std::unique_ptr<ChatFormat>(std::move(format));
}

absl::StatusOr<std::string> RenderTemplateJson(const std::string& template_source,
                                               const std::string& path, std::string_view json) {
  INHOUSE_ASSIGN_OR_RETURN(const auto given, VariablesOfJson(json));
  INHOUSE_ASSIGN_OR_RETURN(const auto compiled, jinja::Template::Compile(template_source, path));
  jinja::DictObject variables;
  for (const auto& [name, value] : given->entries) {
    if (name.Text() != "template") variables.Set(name, value);
  }
  return compiled->Render(variables);
}

}  // namespace inhouse::engine
