// A chat answer as Anthropic's clients expect it: a message of blocks, or the events that build
// one.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "model-server/api/chat_writer.h"

namespace inhouse::model_server {

std::unique_ptr<ChatWriter> NewMessagesWriter(AnswerHead head);

// {"input_tokens": n}
std::string TokenCountAnswer(int64_t input_tokens);

// {"type":"error","error":{"type","message"},"request_id"}; `openai_body` is ours, of ErrorJson.
std::string AnthropicErrorJson(int status, std::string_view openai_body, std::string_view id);

}  // namespace inhouse::model_server
