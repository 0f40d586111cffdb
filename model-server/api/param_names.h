// A request of another API is read as the chat request that it means; an error then has to name the
// member that the client wrote.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "model-server/api/error.h"

namespace inhouse::model_server {

// {chat's name, the client's name}, both as paths: {"messages[1]", "input[0]"}. The first that fits
// counts.
using ParamNames = std::vector<std::pair<std::string, std::string>>;

// Puts the client's name into `param` and into the message.
void UseClientNames(const ParamNames& names, ApiError* error);

}  // namespace inhouse::model_server
