// POST /v1/embeddings.
#pragma once

#include <memory>

#include "model-server/routes/generation.h"

namespace inhouse::model_server {

// On the worker thread: reads the body, tokenizes the inputs, submits them a few at a time. Answers
// through `setup.writer`, on the io thread.
void RunEmbeddings(const std::shared_ptr<const Request>& request, GenerationSetup setup);

}  // namespace inhouse::model_server
