// The directories of the disk tier: one for each model below the one that the operator names.
//
//   DIR/kv-<32 hex digits>/lock                   held by the engine that uses it
//   DIR/kv-<32 hex digits>/<64 hex>.inhouse-kv    kv_file.h
//
// What has other names is nobody's business here and is left alone.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/cache/prefix_key.h"

namespace inhouse::engine {

// One model's directory, locked while this object lives and Lock() has succeeded. Not thread-safe.
class DiskDirectory {
 public:
  DiskDirectory(std::string root, std::string name)
      : root_(std::move(root)), name_(std::move(name)) {}
  ~DiskDirectory();
  DiskDirectory(const DiskDirectory&) = delete;
  DiskDirectory& operator=(const DiskDirectory&) = delete;

  // Creates it, readable by its owner only. The system's error if it cannot be, or not be written.
  absl::Status Create() const;
  // False: another engine has it. The lock goes with its process, however that ends.
  absl::StatusOr<bool> Lock();

  // Its files, the least recently used first. Deletes what a killed process was writing.
  absl::StatusOr<std::vector<std::string>> Files() const;
  std::string PathOf(const PrefixKey& last) const;

  // Deletes other models' directories that no engine uses, the least recently used first, until
  // they take no more than `bytes_max` together. Returns what they take.
  int64_t ShrinkOthers(int64_t bytes_max) const;

 private:
  std::string path() const { return root_ + "/" + name_; }

  const std::string root_;
  const std::string name_;
  int lock_fd_ = -1;
};

// Deletes a file; a warning if that fails, unless there is none.
void DeleteKvFile(const std::string& path);
// Remembers the file's last use for the next start.
void TouchKvFile(const std::string& path);

// "kv-" and 32 hexadecimal digits of an identity.
std::string DiskDirectoryName(const base::Sha256Bytes& identity);

}  // namespace inhouse::engine
