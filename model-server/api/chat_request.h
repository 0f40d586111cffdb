// POST /v1/chat/completions: JSON -> typed request.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "engine/prompt/chat.h"
#include "model-server/api/generate_params.h"
#include "model-server/api/tool_choice.h"

namespace inhouse::model_server {

struct ChatRequest {
  std::string model = {};
  std::vector<engine::ChatMessage> messages = {};
  engine::ChatOptions options = {};  // tools, template variables, generation prompt
  ToolChoice tool_choice = {};
  GenerateParams params = {};
  bool logprobs = false;
  int64_t top_logprobs = 0;
  bool parallel_tool_calls = true;  // false: only the first call is kept
  bool include_reasoning = true;
};

// The errors name the member, down to "messages[2].content[0].type".
std::optional<ApiError> ReadChatRequest(const Json& body, const ModelBounds& bounds,
                                        ChatRequest* out);

// The `messages` array alone.
void ReadMessages(const Json& list, Fields* fields, std::vector<engine::ChatMessage>* out);

}  // namespace inhouse::model_server
