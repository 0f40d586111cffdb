// GET /admin/model, POST /admin/model/swap and /admin/model/rollback: which model answers.
#pragma once

#include "model-server/routes/router.h"

namespace inhouse::model_server {

void HandleModelState(const Exchange& exchange);
// 202 once it is sure that the model can be loaded and fits; GET /admin/model says how it goes on.
void HandleSwapModel(const Exchange& exchange);
// 200 where the previous model was still in memory: it answers already. Else as a swap.
void HandleRollBackModel(const Exchange& exchange);

}  // namespace inhouse::model_server
