// The day's counters on the disk, so that a restart gives nobody a second day.
#pragma once

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "guard/quota/limiter.h"

namespace inhouse::guard {

// Owned by one process at a time: a second one is refused (Unavailable), since each would overwrite
// what the other counted. Thread-compatible.
class UsageFile {
 public:
  static absl::StatusOr<std::unique_ptr<UsageFile>> Open(const std::string& path);
  ~UsageFile();
  UsageFile(const UsageFile&) = delete;
  UsageFile& operator=(const UsageFile&) = delete;

  // Empty if there is no file yet; an error that names line and field if it cannot be read.
  absl::StatusOr<UsageSnapshot> Load() const;
  absl::Status Save(const UsageSnapshot& usage) const;  // replaces the file as a whole

 private:
  UsageFile(std::string path, int lock) : path_(std::move(path)), lock_(lock) {}
  std::string path_;
  int lock_;
};

}  // namespace inhouse::guard
