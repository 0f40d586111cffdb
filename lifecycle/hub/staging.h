// The place where a version grows before it is complete: <home>/partial/<key>/.
//
//   files/          finished, verified files in their final layout
//   parts/          what is still being fetched, with its state
//   pull.json       whose it is, for `inhouse models`
//   lock            held by the process that works here
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lifecycle/registry/store.h"

namespace inhouse::lifecycle {

// Owns the lock. The directory stays when the object goes, so that the next attempt resumes;
// Discard removes it. One thread.
class Staging {
 public:
  // `key` decides which attempts share a place; `title` is what people read. Unavailable if another
  // process works there.
  static absl::StatusOr<std::unique_ptr<Staging>> Open(const Store& store, const std::string& key,
                                                       const std::string& title);
  ~Staging();
  Staging(const Staging&) = delete;
  Staging& operator=(const Staging&) = delete;

  const std::string& directory() const { return directory_; }
  std::string FilesDirectory() const { return directory_ + "/files"; }
  std::string PartsDirectory() const { return directory_ + "/parts"; }

  absl::Status Discard();

 private:
  Staging(std::string directory, int lock) : directory_(std::move(directory)), lock_(lock) {}
  std::string directory_;
  int lock_;
};

struct PartialPull {
  std::string directory = {};
  std::string title = {};
  uint64_t bytes = 0;  // on the disk
  bool active = false;
};

// What lies in <home>/partial.
std::vector<PartialPull> ListPartials(const Store& store);

// Removes those on which no process works; returns them.
absl::StatusOr<std::vector<PartialPull>> RemovePartials(const Store& store);

// The bytes that a process without privileges may still write to the file system of `directory`
// (or of its nearest parent that exists).
absl::StatusOr<uint64_t> FreeBytes(const std::string& directory);

// ResourceExhausted, naming the directory and both numbers, if fewer than `bytes` are free.
absl::Status CheckFreeBytes(const std::string& directory, uint64_t bytes);

// mkdir -p of the directory of a file.
absl::Status MakeParentDirectories(const std::string& path);

}  // namespace inhouse::lifecycle
