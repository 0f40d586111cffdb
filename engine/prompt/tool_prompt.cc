#include "engine/prompt/tool_prompt.h"

#include <utility>

#include "engine/prompt/completion/call_syntax.h"
#include "engine/prompt/completion/parser.h"

namespace inhouse::engine {
namespace {

CompletionStyle PlainWithCalls() {
  CompletionStyle style = *FindCompletionStyle("plain");
  style.calls = CallStyle::kQwen;
  return style;
}

std::string CallText(const ToolCall& call) {
  return "<tool_call>\n{\"name\": " + nlohmann::ordered_json(call.name).dump() +
         ", \"arguments\": " + (call.arguments.empty() ? "{}" : call.arguments) + "}\n</tool_call>";
}

class ToolPromptFormat : public ChatFormat {
 public:
  ToolPromptFormat(const ChatFormat& base, bool knows_tools)
      : base_(base),
        knows_tools_(knows_tools),
        name_(std::string(base.name()) + "+hermes"),
        style_(PlainWithCalls()) {}

  absl::StatusOr<std::string> Render(const std::vector<ChatMessage>& messages,
                                     const ChatOptions& options) const override {
    if (knows_tools_) return base_.Render(messages, options);
    ChatOptions without = options;
    without.tools = nullptr;
    return base_.Render(Written(messages, options.tools), without);
  }

  absl::StatusOr<std::string> RenderJson(std::string_view json,
                                         const ChatOptions& defaults) const override {
    return base_.RenderJson(json, defaults);
  }

  ParsedCompletion Parse(std::string_view text, bool prompt_ends_in_think) const override {
    return ParseCompletion(style_, text, prompt_ends_in_think);
  }
  std::unique_ptr<CompletionStream> NewStream(bool prompt_ends_in_think) const override {
    return NewCompletionStream(style_, prompt_ends_in_think);
  }
  absl::StatusOr<GrammarSpec> CallGrammar(const nlohmann::ordered_json& tools,
                                          int64_t calls_max) const override {
    return GrammarOfCalls(*FindCallSyntax(style_.calls), tools, calls_max);
  }
  std::unique_ptr<CompletionStream> NewForcedStream(bool prompt_ends_in_think) const override {
    return NewForcedCompletionStream(style_, prompt_ends_in_think);
  }
  std::string_view name() const override { return name_; }

 private:
  // The conversation as plain messages.
  static std::vector<ChatMessage> Written(const std::vector<ChatMessage>& messages,
                                          const nlohmann::ordered_json& tools) {
    std::vector<ChatMessage> out;
    std::vector<std::string> lines;
    if (tools.is_array()) {
      for (const auto& tool : tools) lines.push_back(tool.dump());
    }
    if (!lines.empty()) {
      const bool system =
          !messages.empty() && (messages[0].role == "system" || messages[0].role == "developer");
      if (!system) out.push_back({.role = "system", .content = HermesTools(lines)});
    }
    for (const ChatMessage& message : messages) {
      if (message.role == "tool") {
        const std::string text =
            "<tool_response>\n" + message.content.value_or("") + "\n</tool_response>";
        const bool follows = &message != &messages.front() && (&message - 1)->role == "tool";
        if (follows) {
          *out.back().content += "\n" + text;
        } else {
          out.push_back({.role = "user", .content = text});
        }
        continue;
      }
      ChatMessage copy = message;
      if (&message == &messages.front() && !lines.empty() && out.empty()) {
        copy.content = message.content.value_or("") + "\n\n" + HermesTools(lines);
      }
      for (const ToolCall& call : std::exchange(copy.tool_calls, {})) {
        std::string text = copy.content.value_or("");
        if (!text.empty()) text += "\n";
        copy.content = text + CallText(call);
      }
      out.push_back(std::move(copy));
    }
    return out;
  }

  const ChatFormat& base_;
  const bool knows_tools_;
  const std::string name_;
  const CompletionStyle style_;
};

}  // namespace

std::string HermesTools(const std::vector<std::string>& tools) {
  std::string out =
      "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
      "provided with function signatures within <tools></tools> XML tags:\n<tools>";
  for (const std::string& tool : tools) out += "\n" + tool;
  return out +
         "\n</tools>\n\nFor each function call, return a json object with function name and "
         "arguments within <tool_call></tool_call> XML tags:\n<tool_call>\n{\"name\": "
         "<function-name>, \"arguments\": <args-json-object>}\n</tool_call>";
}

std::unique_ptr<ChatFormat> NewToolPromptFormat(const ChatFormat& base, bool knows_tools) {
  return std::make_unique<ToolPromptFormat>(base, knows_tools);
}

}  // namespace inhouse::engine
