// A chat answer as a response of items, or as the numbered events that build one.
#pragma once

#include <memory>

#include "model-server/api/chat_writer.h"
#include "model-server/api/responses_request.h"

namespace inhouse::model_server {

std::unique_ptr<ChatWriter> NewResponsesWriter(AnswerHead head, ResponseEcho echo);

}  // namespace inhouse::model_server
