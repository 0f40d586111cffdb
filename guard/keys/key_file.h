// The keys file: TOML, readable by its owner only, replaced as a whole.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "guard/keys/key_record.h"

namespace inhouse::guard {

// Reads every key. Errors name line and field; a file that others can read or write is refused
// (FailedPrecondition). NotFound if there is no file.
absl::StatusOr<std::vector<KeyRecord>> LoadKeys(const std::string& path);

// The same from text, for tests and fuzzing.
absl::StatusOr<std::vector<KeyRecord>> ParseKeys(const std::string& path, std::string_view text);
std::string FormatKeys(const std::vector<KeyRecord>& keys);

// Reads, lets `edit` change, writes. Two processes that do so at the same time wait for each other
// (a lock beside the file); a file that is not there counts as empty and is made. If `edit` fails,
// nothing is written.
absl::Status EditKeys(const std::string& path,
                      const std::function<absl::Status(std::vector<KeyRecord>* keys)>& edit);

// The key that `name` means: its id, one of its prefixes, or its name if that is unique. NotFound
// or FailedPrecondition otherwise.
absl::StatusOr<KeyRecord*> FindKey(std::vector<KeyRecord>* keys, std::string_view name);

struct Rotation {
  absl::Duration grace = absl::ZeroDuration();  // for which the secrets in use stay valid
  absl::Time now = absl::InfinitePast();
};
// Adds a secret and returns its text; the others end after the grace (or earlier, if they would
// have).
absl::StatusOr<std::string> AddSecret(KeyRecord* key, const Rotation& rotation);

}  // namespace inhouse::guard
