// DeepSeek V2.5, V3, R1 and the R1 distills: deepseek-models.md 5.1 and 5.2.
#include "engine/prompt/native/conversation.h"
#include "engine/prompt/native/tokens.h"

namespace inhouse::engine {
namespace {

std::string SystemText(const Conversation& conversation, bool last_only) {
  std::string out;
  bool first = true;
  for (const NativeMessage& m : conversation.messages) {
    if (!IsSystem(m)) continue;
    if (last_only) {
      out = m.content;
    } else {
      out += (first ? "" : "\n\n") + m.content;
    }
    first = false;
  }
  return out;
}

std::string CallsText(const NativeMessage& m) {
  std::string out = kCallsBegin;
  for (size_t i = 0; i < m.calls.size(); ++i) {
    if (i > 0) out += "\n";
    out += kCallBegin + "function" + kCallSeparator + m.calls[i].name + "\n```json\n" +
           m.calls[i].arguments + "\n```" + kCallEnd;
  }
  return out + kCallsEnd;
}

std::string WithoutReasoning(const std::string& content) {
  const size_t at = content.rfind("</think>");
  return at == content.npos ? content : content.substr(at + 8);
}

}  // namespace

std::string EncodeV3(const Conversation& conversation, const V3Style& style) {
  std::string out = kBos + SystemText(conversation, style.last_system_only);
  bool in_results = false;  // tool results are open
  for (const NativeMessage& m : conversation.messages) {
    if (m.role == "tool") {
      if (!in_results) out += kOutputsBegin;
      if (in_results && style.newline_in_results) out += "\n";
      out += kOutputBegin + m.content + kOutputEnd;
      in_results = true;
      continue;
    }
    if (IsSystem(m)) continue;
    const bool after_results = std::exchange(in_results, false);
    if (after_results) out += kOutputsEnd;
    if (m.role == "user") {
      out += kUser + m.content;
    } else if (m.role == "assistant" && !m.calls.empty()) {
      out += kAssistant + m.content + CallsText(m) + kEos;
    } else if (m.role == "assistant") {
      // The answer to tool results comes without a marker, and as it is.
      if (!after_results) out += kAssistant;
      out += (style.thinks && !after_results ? WithoutReasoning(m.content) : m.content) + kEos;
    }
  }
  if (in_results) return out + kOutputsEnd;
  if (conversation.add_generation_prompt) out += kAssistant + (style.thinks ? "<think>\n" : "");
  return out;
}

}  // namespace inhouse::engine
