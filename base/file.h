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

// A secret of at most 4 KiB, without the line end behind it. FailedPrecondition if others than the
// file's owner can read it.
absl::StatusOr<std::string> ReadSecretFile(const std::string& path);

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

  // Copies out.size() bytes from `offset` on with a read of the file. For bytes that are needed
  // once this is about twice as fast as the map, whose pages are entered one by one and removed
  // again. False if they cannot all be read (the end of the file, an error of the device); `out`
  // holds anything then.
  bool Read(size_t offset, std::span<std::byte> out) const;

  // Tells the kernel that the pages of [offset, offset + size) will be read soon, or are not needed
  // any more.
  void WillNeed(size_t offset, size_t size) const;
  void DontNeed(size_t offset, size_t size) const;
  // WillNeed, unless the last of these pages is in memory already: asking is much cheaper than
  // walking through pages that are there.
  void ReadAhead(size_t offset, size_t size) const;

 private:
  MappedFile(std::string path, int fd, const std::byte* data, size_t size)
      : path_(std::move(path)), fd_(fd), data_(data), size_(size) {}

  std::string path_;
  int fd_;
  const std::byte* data_;  // null for an empty file
  size_t size_;
};

}  // namespace inhouse::base
