// An offline directory or .gguf file into a staging place.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lifecycle/hub/pull.h"

namespace inhouse::lifecycle {

// Copies (or links) the chosen files below `directory`, hashing what it reads, and returns the
// manifest's list of files. Digests that the source brings along (inhouse-manifest.json,
// SHA256SUMS) are verified. `path` is a directory or a .gguf file (the first of a split one brings
// the others).
absl::StatusOr<std::vector<ManifestFile>> ImportFiles(const std::string& path,
                                                      const std::string& directory,
                                                      const PullOptions& options,
                                                      const PullObserver& observer);

}  // namespace inhouse::lifecycle
