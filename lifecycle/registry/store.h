// The local model store: immutable versions in plain directories.
//
//   <home>/models/<name>/<version>/...files...          read-only
//                                  inhouse-manifest.json  what is in it
//   <home>/models/<name>/current    the version that the bare name means; replaced atomically
//   <home>/partial/<key>/           downloads that are not complete
//   <home>/trash/                   removed versions on their way out
//
// A version directory appears by one rename, complete and verified, or not at all.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lifecycle/registry/manifest.h"

namespace inhouse::lifecycle {

struct StoredVersion {
  std::string name = {};
  std::string version = {};    // VersionId of the manifest
  std::string directory = {};  // absolute
  bool current = false;
  Manifest manifest = {};

  // What --model takes: the directory, or its entry file.
  std::string ModelPath() const;
};

// What `Verify` found wrong with one file.
struct VerifyFinding {
  std::string path = {};
  std::string problem = {};
};

// Stateless but for its place: every call looks at the disk. Any thread and any number of processes
// may use the same store; changes take an advisory lock. Fails with the path and the errno text.
class Store {
 public:
  explicit Store(std::string home) : home_(std::move(home)) {}
  static absl::StatusOr<Store> OpenDefault();  // at StoreHome()

  const std::string& home() const { return home_; }
  std::string ModelsDirectory() const { return home_ + "/models"; }
  std::string PartialDirectory() const { return home_ + "/partial"; }

  // Every version, sorted by name, the current one of each name first. A version whose manifest
  // cannot be read is left out and told to `on_broken`.
  absl::StatusOr<std::vector<StoredVersion>> List(
      const std::function<void(const absl::Status&)>& on_broken = {}) const;

  // "name", "name@version-prefix", or the last part of a name if only one model ends so (letter
  // case does not matter there). NotFound names close ones.
  absl::StatusOr<StoredVersion> Find(const std::string& name) const;

  // Moves the complete directory `files` (on the same file system) into the store as a version of
  // `name` and makes it current. The files' sizes are checked against the manifest, their digests
  // are the caller's duty. If the version is there already, `files` is removed and the version made
  // current.
  absl::StatusOr<StoredVersion> Add(const std::string& name, const std::string& files,
                                    Manifest manifest) const;

  // Removes one version ("name@prefix") or all of a name; returns what was removed.
  absl::StatusOr<std::vector<StoredVersion>> Remove(const std::string& name) const;

  // Reads every file again. `progress(done, total)` returns false to cancel.
  absl::StatusOr<std::vector<VerifyFinding>> Verify(
      const StoredVersion& version,
      const std::function<bool(uint64_t, uint64_t)>& progress = {}) const;

 private:
  absl::StatusOr<StoredVersion> Load(const std::string& name, const std::string& version) const;
  absl::Status DropDirectory(const std::string& directory) const;
  std::string home_;
};

}  // namespace inhouse::lifecycle
