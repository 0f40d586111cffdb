// Everything that `serve` can be told, by flags and by inhouse.toml.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "apps/inhouse/doorkeeper.h"
#include "base/config_file.h"
#include "engine/engine.h"
#include "model-server/net/server.h"
#include "model-server/routes/app.h"
#include "monitoring/traces/settings.h"

namespace inhouse::apps {

struct ServeSettings {
  ServeSettings() {
    server.port = 8080;
    engine.adapter_rank_max = 64;
  }

  engine::EngineOptions engine;
  model_server::ServerOptions server;
  model_server::AppOptions app;
  GuardSettings guard;
  std::vector<std::string> adapters = {};  // NAME=DIR
  std::string model_root = {};    // "": anywhere if only this machine can ask, else the store only
  std::string adapter_root = {};  // "": anywhere if only this machine can ask, else nowhere
  int64_t adapter_mib = 0;        // 0: what memory is left
  std::string request_log = {};   // a file, "-" = standard error, "" = none
  monitoring::TraceChoice traces = {};
  std::string batches_dir = {};  // "" = no files and no batches
  std::string record_dir = {};   // "" = no answer is kept
  double record_gib = 10;
  double kv_gib = 0;  // 0: four whole contexts, or half of what memory is left
  std::string kv_disk_key_file = {};
  double kv_disk_gib = 10;
  size_t body_mib_max = 32;
  size_t bodies_mib_max = 256;
  size_t header_kib_max = 32;
  double drain_seconds = 30;
  double keep_alive_seconds = 10;
  double header_seconds = 10;
  double body_seconds = 120;
  double idle_seconds = 75;
  double write_seconds = 60;

  // What the numbers above say, where the rooms look for it.
  void Apply();
};

// Reads every field of the file over `settings`; the file notes what is wrong. The fields are
// documented in docs/user-guide/config.md.
void ReadSettings(const base::ConfigFile& file, ServeSettings* settings);

// Opens and reads a file; the first problem is the error.
absl::Status LoadSettings(const std::string& path, ServeSettings* settings);

// What the file names but does not hold: keys, certificates, lists. One status for each that is
// wrong.
std::vector<absl::Status> CheckFiles(const ServeSettings& settings);

// Sets the sizes of the cache of keys and values, in memory and on disk, and reads the secret of
// the disk tier, if there is one, from its file.
absl::Status SetUpKvCache(ServeSettings* settings);

// As TOML, every field with its value.
std::string FormatSettings(const ServeSettings& settings);

bool IsLoopback(const std::string& host);

// Where files may be that clients name; none: nowhere. `root` as it was given, "" = not at all.
std::optional<std::string> RootOf(const std::string& root, bool only_this_machine);

// What `adapters` and its fellows say, where the engine and the server look for it. InvalidArgument
// that names the flag.
absl::Status SetAdapters(ServeSettings* settings);

// Whether another engine has to be loaded for `wanted`.
bool ModelChanged(const ServeSettings& now, const ServeSettings& wanted);
// The part of the settings that ModelChanged compares.
void TakeModel(const ServeSettings& from, ServeSettings* to);

// The names of fields that differ and that only a restart can change: "server.port".
std::vector<std::string> NeedRestart(const ServeSettings& now, const ServeSettings& wanted);

}  // namespace inhouse::apps
