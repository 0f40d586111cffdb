// Files of a hub onto the disk: parallel ranges, resumed, verified.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lifecycle/hub/hub.h"
#include "lifecycle/hub/pull.h"

namespace inhouse::lifecycle {

struct FetchPlan {
  std::vector<RemoteFile> files = {};
  std::string files_directory = {};  // finished files appear here by a rename
  std::string parts_directory = {};  // FILE.part and FILE.state, kept for the next attempt
  Credential credential = {};
  std::string token_hint = {};
};

// A file that is already in files_directory is taken as finished (only verified files get there).
// `fetched` counts the bytes that came over the network. The first error ends everything; parts
// stay, except those that turned out wrong.
absl::Status FetchFiles(const FetchPlan& plan, const PullOptions& options,
                        const PullObserver& observer, uint64_t* fetched);

}  // namespace inhouse::lifecycle
