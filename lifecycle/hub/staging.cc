#include "lifecycle/hub/staging.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <filesystem>

#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

// Room that a full disk's other users keep.
constexpr uint64_t kReserveBytes = 64ULL << 20;

// Letters of the title for people, a digest against collisions.
std::string DirectoryName(const std::string& key, const std::string& title) {
  std::string name;
  for (const char c : title.substr(0, 80)) {
    const bool plain = std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_';
    name += plain || (c == '.' && !name.empty()) ? c : '-';
  }
  base::Sha256 hash;
  hash.Update(std::string_view(key));
  return name + "-" + hash.FinishHex().substr(0, 16);
}

// The lock's descriptor, or -1 if another process holds it.
absl::StatusOr<int> TryLock(const std::string& path) {
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return base::OsError(errno, path, "open");
  if (flock(fd, LOCK_EX | LOCK_NB) == 0) return fd;
  const int error = errno;
  close(fd);
  if (error == EWOULDBLOCK) return -1;
  return base::OsError(error, path, "lock");
}

uint64_t BytesOnDisk(const std::string& directory) {
  uint64_t bytes = 0;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    struct stat info = {};
    if (lstat(it->path().c_str(), &info) == 0 && S_ISREG(info.st_mode)) {
      bytes += static_cast<uint64_t>(info.st_blocks) * 512;
    }
  }
  return bytes;
}

std::string ReadTitle(const std::string& directory) {
  const auto text = base::ReadFile(directory + "/pull.json", 1 << 16);
  if (!text.ok()) return "";
  const auto json = nlohmann::json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return "";
  const auto title = json.find("title");
  return title != json.end() && title->is_string() ? title->get<std::string>() : "";
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return base::OsError(error.value(), path, "create the directory");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<Staging>> Staging::Open(const Store& store, const std::string& key,
                                                       const std::string& title) {
  const std::string directory = store.PartialDirectory() + "/" + DirectoryName(key, title);
  INHOUSE_RETURN_IF_ERROR(MakeDirectories(directory));
  INHOUSE_ASSIGN_OR_RETURN(const int lock, TryLock(directory + "/lock"));
  if (lock < 0) {
    return absl::UnavailableError(
        fmt::format("{}: another process is pulling '{}'; wait for it to end", directory, title));
  }
  std::unique_ptr<Staging> staging(new Staging(directory, lock));
  INHOUSE_RETURN_IF_ERROR(MakeDirectories(staging->FilesDirectory()));
  INHOUSE_RETURN_IF_ERROR(MakeDirectories(staging->PartsDirectory()));
  const nlohmann::json about = {{"title", title}};
  INHOUSE_RETURN_IF_ERROR(base::ReplaceFile(
      directory + "/pull.json",
      about.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n"));
  return staging;
}

Staging::~Staging() { close(lock_); }

absl::Status Staging::Discard() {
  std::error_code error;
  fs::remove_all(directory_, error);
  if (error) return base::OsError(error.value(), directory_, "remove");
  return absl::OkStatus();
}

std::vector<PartialPull> ListPartials(const Store& store) {
  std::vector<PartialPull> partials;
  std::error_code error;
  for (fs::directory_iterator it(store.PartialDirectory(), error), end; !error && it != end;
       it.increment(error)) {
    PartialPull partial = {.directory = it->path().string()};
    partial.title = ReadTitle(partial.directory);
    partial.bytes = BytesOnDisk(partial.directory);
    const auto lock = TryLock(partial.directory + "/lock");
    partial.active = lock.ok() && *lock < 0;
    if (lock.ok() && *lock >= 0) close(*lock);
    partials.push_back(std::move(partial));
  }
  std::sort(partials.begin(), partials.end(),
            [](const PartialPull& a, const PartialPull& b) { return a.directory < b.directory; });
  return partials;
}

absl::StatusOr<std::vector<PartialPull>> RemovePartials(const Store& store) {
  std::vector<PartialPull> removed;
  for (PartialPull& partial : ListPartials(store)) {
    INHOUSE_ASSIGN_OR_RETURN(const int lock, TryLock(partial.directory + "/lock"));
    if (lock < 0) continue;
    std::error_code error;
    fs::remove_all(partial.directory, error);
    close(lock);
    if (error) return base::OsError(error.value(), partial.directory, "remove");
    removed.push_back(std::move(partial));
  }
  return removed;
}

absl::StatusOr<uint64_t> FreeBytes(const std::string& directory) {
  fs::path place = directory;
  struct statvfs info = {};
  while (statvfs(place.c_str(), &info) != 0) {
    if (errno != ENOENT || place == place.parent_path()) {
      return base::OsError(errno, directory, "ask for free space of");
    }
    place = place.parent_path();
  }
  return static_cast<uint64_t>(info.f_bavail) * info.f_frsize;
}

absl::Status CheckFreeBytes(const std::string& directory, uint64_t bytes) {
  INHOUSE_ASSIGN_OR_RETURN(const uint64_t free, FreeBytes(directory));
  if (free >= bytes + kReserveBytes || bytes == 0) return absl::OkStatus();
  return base::InputError(
      absl::StatusCode::kResourceExhausted,
      {.file = directory,
       .field = "free disk space",
       .value = fmt::format("{:.2f} GB", static_cast<double>(free) / 1e9),
       .expected = fmt::format("{:.2f} GB", static_cast<double>(bytes + kReserveBytes) / 1e9),
       .hint = "Free some space (`inhouse models rm`, `inhouse models prune`) or set INHOUSE_HOME "
               "to a directory on a larger disk."});
}

absl::Status MakeParentDirectories(const std::string& path) {
  return MakeDirectories(path.substr(0, path.rfind('/')));
}

}  // namespace inhouse::lifecycle
