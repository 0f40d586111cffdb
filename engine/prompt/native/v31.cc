// DeepSeek V3.1, V3.1-Terminus and V3.2-Exp: deepseek-models.md 5.1 and 5.3.
#include "engine/prompt/jinja/json.h"
#include "engine/prompt/jinja/repr.h"
#include "engine/prompt/native/conversation.h"
#include "engine/prompt/native/tokens.h"

namespace inhouse::engine {
namespace {

using jinja::Value;

std::string Member(const Value& function, std::string_view name) {
  const Value* found = function.AsDict().Find(name);
  if (found == nullptr || found->IsNone()) return "";
  return jinja::Str(*found);
}

// The text of the model card; the official template ignores tools.
std::string ToolsText(const std::vector<Value>& tools) {
  std::string out = "\n\n## Tools\nYou have access to the following tools:\n\n";
  for (const Value& function : tools) {
    const Value* parameters = function.AsDict().Find("parameters");
    out += "### " + Member(function, "name") + "\nDescription: " + Member(function, "description") +
           "\n\nParameters: " + (parameters == nullptr ? "{}" : jinja::ToJson(*parameters)) +
           "\n\n";
  }
  return out + "IMPORTANT: ALWAYS adhere to this exact format for tool use:\n" + kCallsBegin +
         kCallBegin + "tool_call_name" + kCallSeparator + "tool_call_arguments" + kCallEnd +
         "{additional_tool_calls}" + kCallsEnd +
         "\n\nWhere:\n- `tool_call_name` must be an exact match to one of the available tools\n"
         "- `tool_call_arguments` must be valid JSON that strictly follows the tool's Parameters "
         "Schema\n- For multiple tool calls, chain them directly without separators or spaces";
}

std::string SystemText(const Conversation& conversation, bool* any) {
  std::string out;
  for (const NativeMessage& m : conversation.messages) {
    if (!IsSystem(m)) continue;
    if (*any) out += "\n\n";
    *any = true;
    out += m.content;
    if (!m.tools.empty()) out += ToolsText(m.tools);
  }
  return out;
}

std::string WithoutReasoning(const std::string& content) {
  const size_t at = content.find("</think>");
  return at == content.npos ? content : content.substr(at + 8);
}

}  // namespace

std::string EncodeV31(const Conversation& conversation, bool terminus) {
  bool only_system = false;  // nothing but system messages so far
  std::string out = kBos + SystemText(conversation, &only_system);
  only_system = only_system && terminus;
  bool after_user = false, after_results = false, prefix = false;
  for (const NativeMessage& m : conversation.messages) {
    if (m.role == "user") {
      after_results = false;
      after_user = true;
      out += kUser + m.content;
    } else if (m.role == "assistant" && !m.calls.empty()) {
      if (after_user || only_system) out += kAssistant + "</think>";
      after_user = after_results = false;
      out += m.content + kCallsBegin;
      for (const NativeCall& call : m.calls) {
        out += kCallBegin + call.name + kCallSeparator + call.arguments + kCallEnd;
      }
      out += kCallsEnd + kEos;
    } else if (m.role == "assistant") {
      if (after_user) {
        out += kAssistant + (m.prefix && conversation.thinking ? "<think>" : "</think>");
      }
      prefix = prefix || m.prefix;
      after_user = false;
      out += (after_results ? m.content : WithoutReasoning(m.content)) + kEos;
      after_results = false;
    } else if (m.role == "tool") {
      after_user = false;
      after_results = true;
      out += kOutputBegin + m.content + kOutputEnd;
    }
    if (!IsSystem(m)) only_system = false;
  }
  const bool opens = terminus ? after_user || only_system || !prefix : after_user;
  if (conversation.add_generation_prompt && !after_results && opens) {
    out += kAssistant + (conversation.thinking ? "<think>" : "</think>");
  }
  return out;
}

}  // namespace inhouse::engine
