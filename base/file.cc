#include "base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::base {
namespace {

// Opens a regular file for reading and reports its size; a directory or a device is refused.
absl::StatusOr<std::pair<int, uint64_t>> OpenRegular(const std::string& path) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return OsError(errno, path, "open");
  struct stat info = {};
  if (fstat(fd, &info) != 0) {
    const int error = errno;
    close(fd);
    return OsError(error, path, "stat");
  }
  if (!S_ISREG(info.st_mode)) {
    close(fd);
    return InvalidInput({.file = path, .expected = "a regular file"});
  }
  return std::pair<int, uint64_t>(fd, static_cast<uint64_t>(info.st_size));
}

absl::Status WriteAll(int fd, const std::string& path, std::string_view content) {
  while (!content.empty()) {
    const ssize_t n = write(fd, content.data(), content.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return OsError(errno, path, "write");
    content.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> ReadFile(const std::string& path, uint64_t bytes_max) {
  INHOUSE_ASSIGN_OR_RETURN(const auto opened, OpenRegular(path));
  const auto [fd, size] = opened;
  const absl::Cleanup closer = [fd = fd] { close(fd); };
  if (size > bytes_max) {
    return InputError(absl::StatusCode::kResourceExhausted,
                      {.file = path,
                       .field = "size",
                       .value = fmt::format("{}", size),
                       .expected = fmt::format("at most {} bytes", bytes_max)});
  }
  std::string content(size, '\0');
  size_t done = 0;
  while (done < content.size()) {
    const ssize_t n = read(fd, content.data() + done, content.size() - done);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return OsError(errno, path, "read");
    if (n == 0) break;
    done += static_cast<size_t>(n);
  }
  content.resize(done);
  return content;
}

absl::StatusOr<std::string> ReadSecretFile(const std::string& path) {
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return OsError(errno, path, "open");
  if ((info.st_mode & 077) != 0) {
    return InputError(absl::StatusCode::kFailedPrecondition,
                      {.file = path,
                       .field = "mode",
                       .value = fmt::format("{:04o}", info.st_mode & 07777),
                       .expected = "a secret that only its owner can read",
                       .hint = fmt::format("`chmod 600 {}`.", path)});
  }
  INHOUSE_ASSIGN_OR_RETURN(std::string secret, ReadFile(path, 4096));
  while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r')) secret.pop_back();
  return secret;
}

absl::Status ReplaceFile(const std::string& path, std::string_view content, unsigned mode) {
  std::string temporary = path + ".XXXXXX";
  const int fd = mkostemp(temporary.data(), O_CLOEXEC);
  if (fd < 0) return OsError(errno, temporary, "create");
  absl::Cleanup remover = [&temporary] { unlink(temporary.c_str()); };
  absl::Status status = WriteAll(fd, temporary, content);
  if (status.ok() && fchmod(fd, mode) != 0) status = OsError(errno, temporary, "set the mode of");
  if (status.ok() && fsync(fd) != 0) status = OsError(errno, temporary, "sync");
  if (close(fd) != 0 && status.ok()) status = OsError(errno, temporary, "close");
  INHOUSE_RETURN_IF_ERROR(status);
  if (rename(temporary.c_str(), path.c_str()) != 0) return OsError(errno, path, "replace");
  std::move(remover).Cancel();
  const size_t slash = path.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path.substr(0, slash + 1);
  if (const int dir = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    fsync(dir);  // makes the rename itself durable; some file systems refuse, which is no loss
    close(dir);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<MappedFile>> MappedFile::Open(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const auto opened, OpenRegular(path));
  const auto [fd, size] = opened;
  absl::Cleanup closer = [fd = fd] { close(fd); };
  void* data = nullptr;
  if (size > 0) {
    data = mmap(nullptr, size, PROT_READ, MAP_SHARED, fd, 0);
    if (data == MAP_FAILED) return OsError(errno, path, "map");
  }
  std::move(closer).Cancel();
  return std::unique_ptr<MappedFile>(
      new MappedFile(path, fd, static_cast<const std::byte*>(data), size));
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) munmap(const_cast<std::byte*>(data_), size_);
  close(fd_);
}

bool MappedFile::Read(size_t offset, std::span<std::byte> out) const {
  while (!out.empty()) {
    const ssize_t n = pread(fd_, out.data(), out.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) return false;
    offset += static_cast<size_t>(n);
    out = out.subspan(static_cast<size_t>(n));
  }
  return true;
}

namespace {
void Advise(std::span<const std::byte> bytes, size_t offset, size_t size, int advice) {
  if (bytes.empty() || offset >= bytes.size()) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t begin = offset / page * page;
  const size_t end = std::min(offset + size, bytes.size());
  madvise(const_cast<std::byte*>(bytes.data()) + begin, end - begin, advice);
}
}  // namespace

void MappedFile::WillNeed(size_t offset, size_t size) const {
  Advise(bytes(), offset, size, MADV_WILLNEED);
}
void MappedFile::DontNeed(size_t offset, size_t size) const {
  Advise(bytes(), offset, size, MADV_DONTNEED);
}

void MappedFile::ReadAhead(size_t offset, size_t size) const {
  if (size == 0 || offset >= size_) return;
  const size_t page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const size_t last = (std::min(offset + size, size_) - 1) / page * page;
  unsigned char resident = 1;
  if (mincore(const_cast<std::byte*>(data_) + last, 1, &resident) != 0 || (resident & 1) != 0) {
    return;
  }
  WillNeed(offset, size);
}

}  // namespace inhouse::base
