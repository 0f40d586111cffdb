// POST /v1/messages, as Anthropic's clients send it: JSON -> the chat request that it means.
#pragma once

#include <optional>

#include "model-server/api/chat_request.h"

namespace inhouse::model_server {

// `max_tokens` is required, except to count tokens. The errors name the client's members.
std::optional<ApiError> ReadMessagesRequest(const Json& body, const ModelBounds& bounds,
                                            bool needs_max_tokens, ChatRequest* out);

}  // namespace inhouse::model_server
