#include "model-server/routes/carry_over.h"

#include <algorithm>

#include "base/log.h"
#include "base/status.h"

namespace inhouse::model_server {

Memory MemoryOf(const ServedModel& model) {
  const engine::ByteSize& bytes = model.engine->info().bytes;
  const engine::EngineStats stats = model.engine->stats();
  const int64_t pages = std::max<int64_t>(stats.kv_pages_total, 1);
  const int64_t touched = bytes.kv / pages * (stats.kv_pages_used + stats.kv_pages_cached);
  int64_t adapters = 0;
  for (const engine::AdapterInfo& info : model.engine->adapters()) adapters += info.bytes;
  const bool mapped = !model.engine->info().load.packed.empty();
  return {.held = (mapped ? 0 : bytes.weights) + bytes.scratch + adapters + touched,
          .promised = (mapped ? bytes.weights : 0) + bytes.kv - touched +
                      std::max<int64_t>(bytes.adapters - adapters, 0)};
}

void AddAdapters(const std::vector<engine::AdapterSource>& adapters, const ServedModel& to) {
  for (const engine::AdapterSource& adapter : adapters) {
    const auto loaded = to.engine->LoadAdapter(adapter, /*replace=*/true);
    if (!loaded.ok()) {
      spdlog::warn("adapter {} is not in the model that answers now: {}", adapter.name,
                   base::Message(loaded.status()));
    }
  }
}

void MatchAdapters(const ServedModel& from, const ServedModel& to) {
  const std::vector<engine::AdapterInfo> wanted = from.engine->adapters();
  const std::vector<engine::AdapterInfo> there = to.engine->adapters();
  const auto named = [](const std::vector<engine::AdapterInfo>& list, const std::string& name) {
    const auto it = std::find_if(list.begin(), list.end(),
                                 [&name](const auto& adapter) { return adapter.name == name; });
    return it == list.end() ? nullptr : &*it;
  };
  for (const engine::AdapterInfo& adapter : there) {
    if (named(wanted, adapter.name) == nullptr) {
      to.engine->UnloadAdapter(adapter.name).IgnoreError();  // it was there a moment ago
    }
  }
  for (const engine::AdapterInfo& adapter : wanted) {
    const engine::AdapterInfo* same = named(there, adapter.name);
    if (same != nullptr && same->fingerprint == adapter.fingerprint) continue;
    AddAdapters({{adapter.name, adapter.path}}, to);
  }
}

std::vector<engine::AdapterSource> AdaptersOf(const ServedModel& model) {
  std::vector<engine::AdapterSource> out;
  for (const engine::AdapterInfo& info : model.engine->adapters()) {
    out.push_back({info.name, info.path});
  }
  return out;
}

std::vector<engine::AdapterSource> CarryOver(const ModelRef& serving,
                                             const std::vector<engine::AdapterSource>& before,
                                             const std::vector<std::string>& gone,
                                             const std::vector<engine::AdapterSource>& changed) {
  std::vector<engine::AdapterSource> out;
  out = serving == nullptr ? before : AdaptersOf(*serving);
  std::erase_if(out, [&gone](const engine::AdapterSource& adapter) {
    return std::find(gone.begin(), gone.end(), adapter.name) != gone.end();
  });
  for (const engine::AdapterSource& adapter : changed) {
    const auto same = std::find_if(out.begin(), out.end(), [&adapter](const auto& other) {
      return other.name == adapter.name;
    });
    if (same == out.end()) {
      out.push_back(adapter);
    } else {
      *same = adapter;
    }
  }
  return out;
}

}  // namespace inhouse::model_server
