// POST /tokenize and /detokenize, as vLLM and llama-server name them.
#pragma once

#include <memory>

#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// On the worker thread; they answer through `setup.writer`, on the io thread.
void RunTokenize(const std::shared_ptr<const Request>& request, GenerationSetup setup);
void RunDetokenize(const std::shared_ptr<const Request>& request, GenerationSetup setup);

}  // namespace inhouse::model_server
