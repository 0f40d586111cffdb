#include "base/new_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::base {
namespace {

std::string DirectoryOf(const std::string& path) {
  const size_t slash = path.rfind('/');
  return slash == std::string::npos ? "." : path.substr(0, slash + 1);
}

}  // namespace

absl::StatusOr<std::unique_ptr<NewFile>> NewFile::Create(const std::string& path, uint64_t bytes) {
  std::unique_ptr<NewFile> file(new NewFile(path));
  INHOUSE_RETURN_IF_ERROR(file->Open());
  INHOUSE_RETURN_IF_ERROR(file->Reserve(bytes));
  return file;
}

NewFile::~NewFile() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

absl::Status NewFile::Open() {
  struct stat info = {};
  if (stat(path_.c_str(), &info) == 0 && !S_ISREG(info.st_mode)) {
    return InvalidInput({.file = path_, .expected = "a regular file, or no file yet"});
  }
  fd_ = open(DirectoryOf(path_).c_str(), O_TMPFILE | O_WRONLY | O_CLOEXEC, 0644);
  if (fd_ >= 0) return absl::OkStatus();
  if (errno != EOPNOTSUPP && errno != EISDIR && errno != EINVAL) {
    return OsError(errno, path_, "create");
  }
  std::string name = path_ + ".XXXXXX";
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) return OsError(errno, name, "create");
  temporary_ = std::move(name);
  return absl::OkStatus();
}

absl::Status NewFile::Reserve(uint64_t bytes) {
  if (bytes == 0) return absl::OkStatus();
  const auto size = static_cast<off_t>(bytes);
  int failed = fallocate(fd_, 0, 0, size);
  if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) failed = ftruncate(fd_, size);
  if (failed != 0) return OsError(errno, path_, fmt::format("reserve {} bytes for", bytes));
  return absl::OkStatus();
}

absl::Status NewFile::WriteAt(uint64_t offset, std::span<const std::byte> bytes) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return OsError(errno, path_, "write");
    bytes = bytes.subspan(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status NewFile::Commit() {
  if (fsync(fd_) != 0) return OsError(errno, path_, "sync");
  if (temporary_.empty()) {
    // A link cannot replace a file, a rename can: the name beside it lasts for one instant.
    std::string name = fmt::format("{}.{}.new", path_, getpid());
    unlink(name.c_str());
    const std::string self = fmt::format("/proc/self/fd/{}", fd_);
    if (linkat(AT_FDCWD, self.c_str(), AT_FDCWD, name.c_str(), AT_SYMLINK_FOLLOW) != 0) {
      return OsError(errno, name, "link");
    }
    temporary_ = std::move(name);
  } else if (fchmod(fd_, 0644) != 0) {
    return OsError(errno, temporary_, "set the mode of");
  }
  if (close(std::exchange(fd_, -1)) != 0) return OsError(errno, temporary_, "close");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return OsError(errno, path_, "replace");
  temporary_.clear();
  if (const int dir = open(DirectoryOf(path_).c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
      dir >= 0) {
    fsync(dir);  // makes the rename itself durable; some file systems refuse, which is no loss
    close(dir);
  }
  return absl::OkStatus();
}

}  // namespace inhouse::base
