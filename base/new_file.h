// A large file written piece by piece that appears under its name only when it is whole.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::base {

// Owned by one thread; WriteAt may be called from several for different places. Where the file
// system can, the file has no name until Commit(), so that even a killed process leaves nothing.
// Errors name the path and what the system said.
class NewFile {
 public:
  // Reserves `bytes` on the disk at once: a full disk is better met now than after the work.
  static absl::StatusOr<std::unique_ptr<NewFile>> Create(const std::string& path, uint64_t bytes);
  ~NewFile();  // without Commit() nothing is left
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  absl::Status WriteAt(uint64_t offset, std::span<const std::byte> bytes);
  // Syncs the file and gives it its name, in place of a file that had it.
  absl::Status Commit();

 private:
  explicit NewFile(std::string path) : path_(std::move(path)) {}
  absl::Status Open();
  absl::Status Reserve(uint64_t bytes);

  std::string path_;
  std::string temporary_;  // "" while the file has no name
  int fd_ = -1;
};

}  // namespace inhouse::base
