// Conversations as template variables.
#pragma once

#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/prompt/chat.h"
#include "engine/prompt/jinja/value.h"

namespace inhouse::engine {

// How a template wants what OpenAI's messages leave open.
struct MessageStyle {
  bool null_content = true;       // content of a message that has only calls: none, not ""
  bool object_arguments = false;  // arguments of calls as an object, not as text
  bool developer = false;         // knows the role "developer"; else it becomes "system"
};

std::shared_ptr<jinja::DictObject> VariablesOf(const std::vector<ChatMessage>& messages,
                                               const ChatOptions& options,
                                               const MessageStyle& style);

// The variables that a JSON object gives, with what transformers adds to every conversation: tools
// and documents are none and add_generation_prompt is false where they are absent, and
// reasoning_content, thinking and reasoning of a message are one field. Without `messages` the
// members are taken as they are.
absl::StatusOr<std::shared_ptr<jinja::DictObject>> VariablesOfJson(std::string_view json);

}  // namespace inhouse::engine
