// POST /v1/chat/completions.
#pragma once

#include <memory>

#include "model-server/api/chat_request.h"
#include "model-server/api/chat_writer.h"
#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// On the worker thread: reads the body, renders and tokenizes the conversation, submits it. Answers
// through `setup.writer`, on the io thread.
void RunChat(const std::shared_ptr<const Request>& request, GenerationSetup setup);

// The rest of the way, for every API that means a chat: renders and tokenizes the conversation and
// submits it; `writer` words the answer. The model has been checked
// and `setup.head` is set.
void StartChat(ChatRequest chat, std::unique_ptr<ChatWriter> writer, GenerationSetup setup);
// How the model speaks in this conversation; the model has a chat format.
const engine::ChatFormat& FormatFor(const ServedModel& model, const ChatRequest& request);

// The conversation as the model's prompt text. Errors are 400s that name `messages`.
std::optional<ApiError> RenderChat(const ServedModel& model, ChatRequest* request,
                                   std::string* out);

}  // namespace inhouse::model_server
