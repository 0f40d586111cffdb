// Files: whole reads, read-only maps, atomic replacement.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace inhouse::base {

// The whole file as bytes. A file larger than `bytes_max` is refused (ResourceExhausted).
absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max = 1ULL << 30);

// Writes to a temporary file beside `path`, syncs it and renames it over `path`: readers see the
// old content or the new one, also after a crash. `mode` is that of the new file.
absl::Status ReplaceFile(const std::string& path, std::string_view content, unsigned mode = 0644);

// A read-only map of a whole file. Owns the mapping; views into it live as long as it does. Safe to
// read from any thread. A file that is truncated by somebody else while it is mapped ends the
// process (SIGBUS), as with every map.
class MappedFile {
 public:
  static absl::StatusOr<std::unique_ptr<MappedFile>> Open(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return {data_, size_}; }

  // Tells the kernel that the pages of [offset, offset + size) will be read soon, or are not needed
  // any more.
  void WillNeed(size_t offset, size_t size) const;
  void DontNeed(size_t offset, size_t size) const;
  // WillNeed, unless the last of these pages is in memory already: asking is much cheaper than
  // walking through pages that are there.
  void ReadAhead(size_t offset, size_t size) const;

 private:
  MappedFile(std::string path, const std::byte* data, size_t size)
      : path_(std::move(path)), data_(data), size_(size) {}

  std::string path_;
  const std::byte* data_;  // null for an empty file
  size_t size_;
};

}  // namespace inhouse::base
