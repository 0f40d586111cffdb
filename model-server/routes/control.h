// Routes that never wait for the engine: health, metrics, models, version.
#pragma once

#include "model-server/routes/router.h"

namespace inhouse::model_server {

void HandleLive(const Exchange& exchange);
void HandleReady(const Exchange& exchange);
void HandleMetrics(const Exchange& exchange);
void HandleVersion(const Exchange& exchange);
void HandleModels(const Exchange& exchange);
void HandleModel(const Exchange& exchange);
void HandleOpenApi(const Exchange& exchange);
void HandleTokenizerInfo(const Exchange& exchange);

}  // namespace inhouse::model_server
