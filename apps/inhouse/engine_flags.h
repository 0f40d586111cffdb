// The flags and helpers that every verb with a loaded model shares.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/status/statusor.h"
#include "engine/engine.h"
#include "nlohmann/json.hpp"

namespace inhouse::apps {

// --model, --threads, --isa, --activation-bits.
void AddModelFlags(CLI::App& app, engine::EngineOptions* options);
// The same, --context, --kv-type and --packed. The values arrive when the flags are parsed.
void AddEngineFlags(CLI::App& app, engine::EngineOptions* options);
// What --activation-bits and --kv-type choose, under another flag's name.
void AddActivationBits(CLI::App& app, engine::EngineOptions* options, const char* flag,
                       const char* what);
void AddKvType(CLI::App& app, engine::EngineOptions* options, const char* flag, const char* what);
// --prefill-chunk.
void AddPrefillChunk(CLI::App& app, engine::EngineOptions* options);

// --adapter: one for everything that the verb does.
void AddAdapterFlag(CLI::App& app, engine::EngineOptions* options);
// The adapter that the flag loaded, for requests; "" = none.
std::string AdapterOf(const engine::Engine& engine);

// Sampling flags. Values that are not given stay as the model's own defaults say (see
// SamplingFlags::Apply).
struct SamplingFlags {
  float temperature = -1;  // -1: not given
  int top_k = -1;
  float top_p = -1;
  float min_p = -1;
  float repetition_penalty = 1;
  float presence_penalty = 0;
  float frequency_penalty = 0;
  uint64_t seed = 0;  // fixed, so that the same command gives the same bytes

  void Add(CLI::App& app);
  engine::SamplingOptions Apply(const engine::SamplingOptions& defaults) const;
};

// From --packed to where the engine looks for packed weights: a file, the store, or ("off")
// nowhere.
void FindPacked(engine::EngineOptions* options);
// Says on stderr that packed weights were found and passed over, if so.
void ReportPacked(const engine::Engine& engine);

// Where the time of the load went, for --json.
nlohmann::ordered_json LoadJson(const engine::LoadReport& load);

// Finds the model (a path or a name of the local store) and loads it, with a progress bar on
// stderr.
absl::StatusOr<std::unique_ptr<engine::Engine>> LoadEngine(engine::EngineOptions options);

// Submits a request and waits for its end; `on_event` is called on this thread for each event.
// Ctrl-C cancels it. Returns the last event.
absl::StatusOr<engine::TokenEvent> RunToEnd(
    engine::Engine& engine, engine::GenerateRequest request,
    const std::function<void(const engine::TokenEvent&)>& on_event);

// "1,2,3" or, with `file`, a JSON array in a file ("-" = standard input).
absl::StatusOr<std::vector<engine::TokenId>> ParseIds(const std::string& list,
                                                      const std::string& file);

// A JSON number of a float with 9 significant digits: enough to give back the same float.
void AppendFloat(float value, std::string* out);

}  // namespace inhouse::apps
