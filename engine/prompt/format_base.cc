#include "engine/prompt/format_base.h"

#include "base/status.h"
#include "engine/prompt/completion/call_syntax.h"
#include "engine/prompt/jinja/text.h"
#include "engine/prompt/tool_prompt.h"

namespace inhouse::engine {
namespace {

// Marks the end of a message that shall be continued: the prompt is cut there, before whatever the
// format writes behind a message. The way of transformers' continue_final_message.
constexpr std::string_view kTag = "CONTINUE_FINAL_MESSAGE_TAG ";

void SetDefaultText(jinja::DictObject* variables, std::string_view name, const std::string& text) {
  if (text.empty() || variables->Find(name) != nullptr) return;
  variables->Set(jinja::Value::String(std::string(name)), jinja::Value::String(text));
}

absl::StatusOr<std::string> CutAtTag(std::string prompt) {
  const std::string_view bare = kTag.substr(0, kTag.size() - 1);
  const size_t at = prompt.rfind(bare);
  if (at == prompt.npos) {
    return base::InvalidInput({.file = "messages",
                               .field = "the last message's prefix",
                               .expected = "a format that shows the message's text unchanged"});
  }
  if (std::string_view(prompt).substr(at).starts_with(kTag)) return prompt.substr(0, at);
  // The format trims the text.
  return std::string(jinja::Strip(std::string_view(prompt).substr(0, at), jinja::Side::kRight));
}

}  // namespace

absl::StatusOr<std::string> FormatBase::Render(const std::vector<ChatMessage>& messages,
                                               const ChatOptions& options) const {
  const bool continues =
      !messages.empty() && messages.back().prefix && messages.back().role == "assistant";
  if (!continues) return RenderVariables(*VariablesOf(messages, options, style_));
  std::vector<ChatMessage> tagged = messages;
  tagged.back().content = tagged.back().content.value_or("") + std::string(kTag);
  ChatOptions without = options;
  without.add_generation_prompt = false;
  INHOUSE_ASSIGN_OR_RETURN(std::string prompt,
                           RenderVariables(*VariablesOf(tagged, without, style_)));
  return CutAtTag(std::move(prompt));
}

absl::StatusOr<std::string> FormatBase::RenderJson(std::string_view json,
                                                   const ChatOptions& defaults) const {
  INHOUSE_ASSIGN_OR_RETURN(const auto variables, VariablesOfJson(json));
  SetDefaultText(variables.get(), "bos_token", defaults.bos_token);
  SetDefaultText(variables.get(), "eos_token", defaults.eos_token);
  return RenderVariables(*variables);
}

ParsedCompletion FormatBase::Parse(std::string_view text, bool prompt_ends_in_think) const {
  return ParseCompletion(completions_, text, prompt_ends_in_think);
}

std::unique_ptr<CompletionStream> FormatBase::NewStream(bool prompt_ends_in_think) const {
  return NewCompletionStream(completions_, prompt_ends_in_think);
}

absl::StatusOr<GrammarSpec> ChatFormat::CallGrammar(const nlohmann::ordered_json& /*tools*/,
                                                    int64_t /*calls_max*/) const {
  return absl::UnimplementedError("Calls cannot be forced in this model's format.");
}

absl::StatusOr<GrammarSpec> FormatBase::CallGrammar(const nlohmann::ordered_json& tools,
                                                    int64_t calls_max) const {
  const CallSyntax* syntax = FindCallSyntax(completions_.calls);
  if (syntax == nullptr) return ChatFormat::CallGrammar(tools, calls_max);
  return GrammarOfCalls(*syntax, tools, calls_max);
}

std::unique_ptr<CompletionStream> FormatBase::NewForcedStream(bool prompt_ends_in_think) const {
  if (FindCallSyntax(completions_.calls) == nullptr) return NewStream(prompt_ends_in_think);
  return NewForcedCompletionStream(completions_, prompt_ends_in_think);
}

void FormatBase::AddToolPrompt(bool knows_tools) {
  if (completions_.calls == CallStyle::kNone) with_tools_ = NewToolPromptFormat(*this, knows_tools);
}

bool PromptEndsInThink(std::string_view prompt) {
  return jinja::Strip(prompt, jinja::Side::kRight).ends_with("<think>");
}

bool PromptEndsThink(std::string_view prompt) {
  return jinja::Strip(prompt, jinja::Side::kRight).ends_with("</think>");
}

}  // namespace inhouse::engine
