// POST /v1/responses: JSON -> the chat request that it means. Stateless: what would need an earlier
// response, a stored conversation or a job in the background is refused.
#pragma once

#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "model-server/api/chat_request.h"

namespace inhouse::model_server {

// Members of the request that the response repeats, with their defaults; values as JSON text.
using ResponseEcho = std::vector<std::pair<std::string, std::string>>;

// The errors name the client's members.
std::optional<ApiError> ReadResponsesRequest(const Json& body, const ModelBounds& bounds,
                                             ChatRequest* out, ResponseEcho* echo);

}  // namespace inhouse::model_server
