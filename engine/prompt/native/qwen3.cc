// Qwen3 (and R1-0528-Qwen3 files that come without a template): ChatML as its template writes it.
#include "engine/prompt/jinja/json.h"
#include "engine/prompt/jinja/text.h"
#include "engine/prompt/native/conversation.h"
#include "engine/prompt/tool_prompt.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kThinkEnd = "</think>";

std::string StripNewlines(std::string_view text, jinja::Side side) {
  return std::string(jinja::Strip(text, side, "\n"));
}

std::string ToolsText(const std::vector<jinja::Value>& tools) {
  std::vector<std::string> lines;
  for (const jinja::Value& function : tools) {
    lines.push_back("{\"type\": \"function\", \"function\": " + jinja::ToJson(function) + "}");
  }
  return HermesTools(lines) + "<|im_end|>\n";
}

// The last message that a person wrote: reasoning before it is left out.
size_t LastQuery(const std::vector<NativeMessage>& messages) {
  for (size_t i = messages.size(); i-- > 0;) {
    const std::string& text = messages[i].content;
    const bool result = text.starts_with("<tool_response>") && text.ends_with("</tool_response>");
    if (messages[i].role == "user" && !result) return i;
  }
  return messages.empty() ? 0 : messages.size() - 1;
}

std::string AssistantText(const NativeMessage& m, bool after_query, bool last) {
  std::string content = m.content;
  std::string reasoning = m.reasoning;
  const size_t end = content.find(kThinkEnd);
  if (reasoning.empty() && end != content.npos) {
    reasoning = StripNewlines(content.substr(0, end), jinja::Side::kRight);
    const size_t begin = reasoning.rfind("<think>");
    if (begin != reasoning.npos) reasoning = reasoning.substr(begin + 7);
    reasoning = StripNewlines(reasoning, jinja::Side::kLeft);
    content = StripNewlines(content.substr(content.rfind(kThinkEnd) + kThinkEnd.size()),
                            jinja::Side::kLeft);
  }
  std::string out = "<|im_start|>assistant\n";
  if (after_query && (last || !reasoning.empty())) {
    out += "<think>\n" + StripNewlines(reasoning, jinja::Side::kBoth) + "\n</think>\n\n" +
           StripNewlines(content, jinja::Side::kLeft);
  } else {
    out += content;
  }
  for (size_t i = 0; i < m.calls.size(); ++i) {
    if (i > 0 || !content.empty()) out += "\n";
    out += "<tool_call>\n{\"name\": \"" + m.calls[i].name +
           "\", \"arguments\": " + m.calls[i].arguments + "}\n</tool_call>";
  }
  return out + "<|im_end|>\n";
}

}  // namespace

std::string EncodeQwen3(const Conversation& conversation) {
  const auto& messages = conversation.messages;
  std::string out;
  size_t first = 0;
  if (!messages.empty() && messages[0].role == "system") {
    first = 1;
    out = "<|im_start|>system\n" + messages[0].content;
    if (messages[0].tools.empty()) {
      out += "<|im_end|>\n";
    } else {
      out += (messages[0].content.empty() ? "" : "\n\n") + ToolsText(messages[0].tools);
    }
  }
  const size_t last_query = LastQuery(messages);
  for (size_t i = first; i < messages.size(); ++i) {
    const NativeMessage& m = messages[i];
    const bool last = i + 1 == messages.size();
    if (m.role == "user" || m.role == "system") {
      out += "<|im_start|>" + m.role + "\n" + m.content + "<|im_end|>\n";
    } else if (m.role == "assistant") {
      out += AssistantText(m, i > last_query, last);
    } else if (m.role == "tool") {
      if (i == 0 || messages[i - 1].role != "tool") out += "<|im_start|>user";
      out += "\n<tool_response>\n" + m.content + "\n</tool_response>";
      if (last || messages[i + 1].role != "tool") out += "<|im_end|>\n";
    }
  }
  if (conversation.add_generation_prompt) {
    out += "<|im_start|>assistant\n";
    if (conversation.thinking_given && !conversation.thinking) out += "<think>\n\n</think>\n\n";
  }
  return out;
}

}  // namespace inhouse::engine
