// Saving a model's weights as the kernels of one level read them, so that the next start maps them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/engine.h"

namespace inhouse::engine {

struct PackReport {
  std::string path = {};  // the file
  std::string isa = {};
  std::string fingerprint = {};  // of the model
  int64_t file_bytes = 0;
  int64_t stored_bytes = 0;  // of the same matrices in the model
  int64_t matrices = 0;
  double seconds = 0;
};

// `progress` is told bytes done and in all, and returns false to cancel (Cancelled).
using PackProgress = std::function<bool(int64_t done, int64_t total)>;

// Packs the weights of options.model for options.isa into the file `out`, or, if `out` is "", into
// a file of options.packed_cache with the name under which Engine::Load looks for it. Needs memory
// for the largest product. The file appears when it is whole; a failure leaves nothing behind.
absl::StatusOr<PackReport> SavePacked(const EngineOptions& options, const std::string& out,
                                      const PackProgress& progress);

// Whether `file` is what SavePacked would write for this model: reads all of it and compares it
// with its own digests and with one panel of each matrix packed anew.
absl::StatusOr<PackReport> VerifyPacked(const EngineOptions& options, const std::string& file,
                                        const PackProgress& progress);

}  // namespace inhouse::engine
