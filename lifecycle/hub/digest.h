// Is a fetched file what the hub listed?
#pragma once

#include <functional>
#include <string>

#include "absl/status/status.h"
#include "lifecycle/hub/hub.h"

namespace inhouse::lifecycle {

// Compares the SHA-256 if the hub gave one, else the SHA-1 of git's blob, else nothing but the
// size. DataLoss with both digests if it differs; Cancelled when `go_on` returns false.
absl::Status CheckDigest(const std::string& path, const RemoteFile& expected,
                         const std::function<bool()>& go_on);

}  // namespace inhouse::lifecycle
