// What one model hands to the next: memory and adapters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "engine/include/engine/engine.h"
#include "model-server/routes/served_model.h"

namespace inhouse::model_server {

// Anonymous memory that comes back when the model is freed. Mapped panels are page cache, which
// the system counts as available all the time.
struct Memory {
  int64_t held = 0;      // in use now
  int64_t promised = 0;  // will be in use, but is not yet, or not for the system's eyes
};

Memory MemoryOf(const ServedModel& model);

std::vector<engine::AdapterSource> AdaptersOf(const ServedModel& model);

// What the next model is loaded with: what the serving one has now (`before`, if there is none),
// without `gone`, and with `changed` in place of those of the same names, or beside them.
std::vector<engine::AdapterSource> CarryOver(const ModelRef& serving,
                                             const std::vector<engine::AdapterSource>& before,
                                             const std::vector<std::string>& gone,
                                             const std::vector<engine::AdapterSource>& changed);

// Those that fit; of others a warning is left.
void AddAdapters(const std::vector<engine::AdapterSource>& adapters, const ServedModel& to);

// Into a model that becomes the serving one again: what clients have loaded and unloaded since. One
// that does not fit is left out, with a warning: it must not keep a rollback from happening.
void MatchAdapters(const ServedModel& from, const ServedModel& to);

}  // namespace inhouse::model_server
