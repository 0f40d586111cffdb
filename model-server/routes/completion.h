// POST /v1/completions.
#pragma once

#include <memory>

#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// On the worker thread: reads the body, tokenizes the prompts, submits them. Answers through
// `setup.writer`, on the io thread.
void RunCompletion(const std::shared_ptr<const Request>& request, GenerationSetup setup);

}  // namespace inhouse::model_server
