// Chat in other words: Anthropic's messages, OpenAI's responses.
#pragma once

#include <memory>

#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// POST /v1/messages, /v1/messages/count_tokens and /v1/responses. On the worker thread, as RunChat.
void RunMessages(const std::shared_ptr<const Request>& request, GenerationSetup setup);
void RunCountTokens(const std::shared_ptr<const Request>& request, GenerationSetup setup);
void RunResponses(const std::shared_ptr<const Request>& request, GenerationSetup setup);

}  // namespace inhouse::model_server
