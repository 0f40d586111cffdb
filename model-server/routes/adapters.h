// POST /v1/load_lora_adapter and /v1/unload_lora_adapter, as vLLM has them.
#pragma once

#include "model-server/routes/router.h"

namespace inhouse::model_server {

// Answer when it is done; the work runs on the loader's thread, so that neither the io thread nor
// the requests that wait to be read are kept.
void HandleLoadAdapter(const Exchange& exchange);
void HandleUnloadAdapter(const Exchange& exchange);

}  // namespace inhouse::model_server
