// DeepSeek LLM, V2 (text markers) and Coder (instruction blocks): deepseek-models.md 5.1.
#include <algorithm>

#include "engine/prompt/native/conversation.h"
#include "engine/prompt/native/tokens.h"

namespace inhouse::engine {

std::string EncodePlain(const Conversation& conversation) {
  std::string out = kBos;
  for (const NativeMessage& m : conversation.messages) {
    if (IsSystem(m)) out += m.content + "\n\n";
    if (m.role == "user") out += "User: " + m.content + "\n\n";
    if (m.role == "assistant") out += "Assistant: " + m.content + kEos;
  }
  if (conversation.add_generation_prompt) out += "Assistant:";
  return out;
}

std::string EncodeCoder(const Conversation& conversation) {
  const auto& messages = conversation.messages;
  std::string out = kBos;
  if (std::none_of(messages.begin(), messages.end(), IsSystem)) {
    out +=
        "You are an AI programming assistant, utilizing the Deepseek Coder model, developed by "
        "Deepseek Company, and you only answer questions related to computer science. For "
        "politically sensitive questions, security and privacy issues, and other non-computer "
        "science questions, you will refuse to answer\n";
  }
  for (const NativeMessage& m : messages) {
    if (IsSystem(m)) {
      out += m.content;
    } else if (m.role == "user") {
      out += "### Instruction:\n" + m.content + "\n";
    } else {
      out += "### Response:\n" + m.content + "\n<|EOT|>\n";
    }
  }
  if (conversation.add_generation_prompt) out += "### Response:\n";
  return out;
}

}  // namespace inhouse::engine
