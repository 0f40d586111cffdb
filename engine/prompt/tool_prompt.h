// Tools for models whose template or encoding knows none.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "engine/prompt/chat.h"

namespace inhouse::engine {

// The text that tells a model of its tools, as Hermes and Qwen models were trained with it: one
// JSON object for each tool, calls as <tool_call> JSON </tool_call>.
std::string HermesTools(const std::vector<std::string>& tools);

// A format that writes the tools into the system message, calls and results as text, and reads
// calls as Qwen writes them. `base` renders the rest and must outlive it. `knows_tools`: the base
// renders tools by itself, and only its calls are not known here.
std::unique_ptr<ChatFormat> NewToolPromptFormat(const ChatFormat& base, bool knows_tools);

}  // namespace inhouse::engine
