#include "engine/cache/disk_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <ctime>
#include <filesystem>
#include <system_error>
#include <tuple>
#include <utility>

#include "absl/strings/escaping.h"
#include "base/hex.h"
#include "base/hmac.h"
#include "base/log.h"
#include "base/status.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kExtension = ".inhouse-kv";
constexpr std::string_view kPrefix = "kv-";
constexpr size_t kKeyDigits = 64;
constexpr size_t kNameDigits = 32;

std::string Hex(const base::Sha256Bytes& bytes) {
  const std::string_view text = base::AsText(bytes);
  return std::string(absl::BytesToHexString(absl::string_view(text.data(), text.size())));
}

enum class NameKind { kForeign, kPages, kUnfinished };

// Unfinished files are called as base::NewFile does, where the file system has no nameless ones.
NameKind KindOf(std::string_view name) {
  if (name.size() < kKeyDigits + kExtension.size() ||
      !base::IsLowerHex(name.substr(0, kKeyDigits)) ||
      name.substr(kKeyDigits, kExtension.size()) != kExtension) {
    return NameKind::kForeign;
  }
  name.remove_prefix(kKeyDigits + kExtension.size());
  if (name.empty()) return NameKind::kPages;
  return name.front() == '.' ? NameKind::kUnfinished : NameKind::kForeign;
}

bool IsDirectoryName(std::string_view name) {
  return name.size() == kPrefix.size() + kNameDigits && name.starts_with(kPrefix) &&
         base::IsLowerHex(name.substr(kPrefix.size()));
}

// Whether the open file is still the one of that name: who deletes a directory holds its lock, and
// whoever has waited for it meanwhile would hold a lock that nobody else can see.
bool IsStillThere(int fd, const std::string& path) {
  struct stat mine = {};
  struct stat named = {};
  return fstat(fd, &mine) == 0 && stat(path.c_str(), &named) == 0 && mine.st_ino == named.st_ino &&
         mine.st_dev == named.st_dev;
}

// -1, and errno: EWOULDBLOCK if another engine has it.
int OpenLocked(const std::string& directory) {
  const std::string path = directory + "/lock";
  while (true) {
    const int fd = open(path.c_str(), O_CREAT | O_RDWR | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) return -1;
    if (flock(fd, LOCK_EX | LOCK_NB) != 0) {
      const int error = errno;
      close(fd);
      errno = error;
      return -1;
    }
    if (IsStillThere(fd, path)) return fd;
    close(fd);
  }
}

struct Found {
  fs::file_time_type used = {};
  std::string path = {};
  int64_t bytes = 0;
};

// Calls `visit` with each entry; the system's error if the directory cannot be read.
template <typename Visit>
absl::Status ForEachEntry(const std::string& directory, Visit visit) {
  std::error_code error;
  fs::directory_iterator entries(directory, error);
  for (; !error && entries != fs::directory_iterator(); entries.increment(error)) {
    visit(entries->path().filename().string(), *entries);
  }
  return error ? base::OsError(error.value(), directory, "read") : absl::OkStatus();
}

// What a directory of pages takes, and when it was used last.
Found Measure(const std::string& directory) {
  Found sum{.path = directory};
  const auto add = [&sum](const std::string& name, const fs::directory_entry& entry) {
    if (KindOf(name) == NameKind::kForeign) return;
    std::error_code gone;
    const auto size = entry.file_size(gone);
    if (gone) return;
    sum.bytes += static_cast<int64_t>(size);
    sum.used = std::max(sum.used, entry.last_write_time(gone));
  };
  ForEachEntry(directory, add).IgnoreError();
  return sum;
}

// The files of ours in it, and itself if nothing else is there. It is locked meanwhile.
void DeleteDirectory(const std::string& directory) {
  const auto remove = [](const std::string& name, const fs::directory_entry& entry) {
    if (KindOf(name) != NameKind::kForeign) DeleteKvFile(entry.path().string());
  };
  ForEachEntry(directory, remove).IgnoreError();
  unlink((directory + "/lock").c_str());
  rmdir(directory.c_str());
}

}  // namespace

DiskDirectory::~DiskDirectory() {
  if (lock_fd_ >= 0) close(lock_fd_);
}

absl::Status DiskDirectory::Create() const {
  std::error_code error;
  fs::create_directories(root_, error);
  if (error) return base::OsError(error.value(), root_, "create");
  if (mkdir(path().c_str(), 0700) != 0 && errno != EEXIST) {
    return base::OsError(errno, path(), "create");
  }
  if (access(path().c_str(), R_OK | W_OK | X_OK) != 0) {
    return base::OsError(errno, path(), "write into");
  }
  return absl::OkStatus();
}

absl::StatusOr<bool> DiskDirectory::Lock() {
  if (lock_fd_ >= 0) return true;  // the last time, something else went wrong
  lock_fd_ = OpenLocked(path());
  if (lock_fd_ < 0 && errno == ENOENT) {  // deleted since it was created
    INHOUSE_RETURN_IF_ERROR(Create());
    lock_fd_ = OpenLocked(path());
  }
  if (lock_fd_ >= 0) return true;
  if (errno == EWOULDBLOCK) return false;
  return base::OsError(errno, path() + "/lock", "lock");
}

absl::StatusOr<std::vector<std::string>> DiskDirectory::Files() const {
  std::vector<Found> found;
  const auto add = [&found](const std::string& name, const fs::directory_entry& entry) {
    const NameKind kind = KindOf(name);
    if (kind == NameKind::kUnfinished) DeleteKvFile(entry.path().string());
    if (kind != NameKind::kPages) return;
    std::error_code gone;
    found.push_back({.used = entry.last_write_time(gone), .path = entry.path().string()});
  };
  INHOUSE_RETURN_IF_ERROR(ForEachEntry(path(), add));
  std::ranges::sort(found, {}, [](const Found& f) { return std::tie(f.used, f.path); });
  std::vector<std::string> paths;
  for (Found& f : found) paths.push_back(std::move(f.path));
  return paths;
}

std::string DiskDirectory::PathOf(const PrefixKey& last) const {
  return path() + "/" + Hex(last) + std::string(kExtension);
}

int64_t DiskDirectory::ShrinkOthers(int64_t bytes_max) const {
  std::vector<std::pair<Found, int>> others;  // with the lock of each
  int64_t bytes = 0;
  const auto add = [&](const std::string& name, const fs::directory_entry& entry) {
    if (name == name_ || !IsDirectoryName(name)) return;
    const int lock = OpenLocked(entry.path().string());
    if (lock < 0) return;  // its engine looks after it
    others.emplace_back(Measure(entry.path().string()), lock);
    bytes += others.back().first.bytes;
  };
  ForEachEntry(root_, add).IgnoreError();  // then there is nothing to delete either
  std::ranges::sort(others, {}, [](const auto& other) { return other.first.used; });
  for (const auto& [other, lock] : others) {
    if (bytes > bytes_max || other.bytes == 0) {
      DeleteDirectory(other.path);
      bytes -= other.bytes;
    }
    close(lock);
  }
  return bytes;
}

void DeleteKvFile(const std::string& path) {
  if (unlink(path.c_str()) != 0 && errno != ENOENT) {
    spdlog::warn("{}", base::Message(base::OsError(errno, path, "delete")));
  }
}

void TouchKvFile(const std::string& path) {
  // The time is given, because the kernel's own ticks are too coarse to tell the order of uses.
  timespec now = {};
  clock_gettime(CLOCK_REALTIME, &now);
  const timespec times[2] = {now, now};
  utimensat(AT_FDCWD, path.c_str(), times, 0);
}

std::string DiskDirectoryName(const base::Sha256Bytes& identity) {
  return std::string(kPrefix) + Hex(identity).substr(0, kNameDigits);
}

}  // namespace inhouse::engine
