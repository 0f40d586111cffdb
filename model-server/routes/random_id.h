// Ids of answers, files, batches and calls.
#pragma once

#include <string>

namespace inhouse::model_server {

// 24 hex digits that nobody can guess. Any thread.
std::string RandomId();

}  // namespace inhouse::model_server
