#include "lifecycle/registry/store.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>

#include "absl/cleanup/cleanup.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/registry/names.h"

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

constexpr uint64_t kManifestBytesMax = 64ULL << 20;
constexpr int kNameDepthMax = 4;

absl::Status FsError(const std::error_code& error, const std::string& path, const char* action) {
  return base::OsError(error.value(), path, action);
}

absl::Status MakeDirectories(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return FsError(error, path, "create the directory");
  return absl::OkStatus();
}

// Holds <home>/lock for the time of one change of the store.
class ChangeLock {
 public:
  static absl::StatusOr<ChangeLock> Take(const std::string& home) {
    INHOUSE_RETURN_IF_ERROR(MakeDirectories(home));
    const std::string path = home + "/lock";
    const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
    if (fd < 0) return base::OsError(errno, path, "open");
    while (flock(fd, LOCK_EX) != 0) {
      if (errno == EINTR) continue;
      const int error = errno;
      close(fd);
      return base::OsError(error, path, "lock");
    }
    return ChangeLock(fd);
  }
  ~ChangeLock() {
    if (fd_ >= 0) close(fd_);
  }
  ChangeLock(ChangeLock&& other) noexcept : fd_(other.fd_) { other.fd_ = -1; }
  ChangeLock& operator=(ChangeLock&&) = delete;

 private:
  explicit ChangeLock(int fd) : fd_(fd) {}
  int fd_;
};

std::string ReadCurrent(const std::string& model_directory) {
  const auto text = base::ReadFile(model_directory + "/current", 1024);
  if (!text.ok()) return "";
  std::string version = text->substr(0, text->find('\n'));
  return IsSha256(version) ? version : "";
}

// (name, version) of every version directory below `directory`.
void Walk(const std::string& directory, const std::string& name, int depth,
          std::vector<std::pair<std::string, std::string>>* found) {
  std::error_code error;
  for (fs::directory_iterator it(directory, error), end; !error && it != end; it.increment(error)) {
    const std::string part = it->path().filename().string();
    std::error_code ignored;
    if (!it->is_directory(ignored)) continue;
    if (IsSha256(part)) {
      if (!name.empty()) found->emplace_back(name, part);
    } else if (depth < kNameDepthMax) {
      Walk(it->path().string(), name.empty() ? part : name + "/" + part, depth + 1, found);
    }
  }
}

absl::Status CheckSizes(const std::string& files, const Manifest& manifest) {
  for (const ManifestFile& file : manifest.files) {
    const std::string path = files + "/" + file.path;
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) return base::OsError(errno, path, "find");
    if (!S_ISREG(info.st_mode) || static_cast<uint64_t>(info.st_size) != file.size) {
      return base::InvalidInput({.file = path,
                                 .field = "size",
                                 .value = fmt::format("{}", info.st_size),
                                 .expected = fmt::format("a file of {} bytes", file.size)});
    }
  }
  return absl::OkStatus();
}

// Versions are immutable: nobody writes into them by accident. (Hard-linked imports share their
// mode with the original, which is what was asked for.)
void MakeReadOnly(const std::string& directory) {
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored)) {
      fs::permissions(it->path(),
                      fs::perms::owner_write | fs::perms::group_write | fs::perms::others_write,
                      fs::perm_options::remove, ignored);
    }
  }
}

// Empty parents of a removed name, up to models/.
void RemoveEmptyParents(std::string directory, const std::string& models) {
  while (directory.size() > models.size() && rmdir(directory.c_str()) == 0) {
    directory.resize(directory.rfind('/'));
  }
}

}  // namespace

std::string StoredVersion::ModelPath() const {
  return manifest.entry.empty() ? directory : directory + "/" + manifest.entry;
}

absl::StatusOr<Store> Store::OpenDefault() {
  INHOUSE_ASSIGN_OR_RETURN(std::string home, StoreHome());
  return Store(std::move(home));
}

absl::StatusOr<StoredVersion> Store::Load(const std::string& name,
                                          const std::string& version) const {
  StoredVersion stored = {.name = name, .version = version};
  const std::string model = ModelsDirectory() + "/" + name;
  stored.directory = model + "/" + version;
  const std::string path = stored.directory + "/" + kManifestFileName;
  INHOUSE_ASSIGN_OR_RETURN(const std::string json, base::ReadFile(path, kManifestBytesMax));
  INHOUSE_ASSIGN_OR_RETURN(stored.manifest, ManifestFromJson(json, path));
  if (const std::string digest = VersionId(stored.manifest); digest != version) {
    return base::InvalidInput({.file = path,
                               .field = "SHA-256",
                               .value = digest,
                               .expected = version,
                               .hint = "The manifest was changed: remove this version and pull it "
                                       "again."});
  }
  stored.current = ReadCurrent(model) == version;
  return stored;
}

absl::StatusOr<std::vector<StoredVersion>> Store::List(
    const std::function<void(const absl::Status&)>& on_broken) const {
  std::vector<std::pair<std::string, std::string>> found;
  Walk(ModelsDirectory(), "", 0, &found);
  std::vector<StoredVersion> versions;
  for (const auto& [name, version] : found) {
    auto stored = Load(name, version);
    if (stored.ok()) {
      versions.push_back(*std::move(stored));
    } else if (on_broken) {
      on_broken(stored.status());
    }
  }
  std::sort(versions.begin(), versions.end(), [](const StoredVersion& a, const StoredVersion& b) {
    if (a.name != b.name) return a.name < b.name;
    if (a.current != b.current) return a.current;
    if (a.manifest.created_at != b.manifest.created_at) {
      return a.manifest.created_at > b.manifest.created_at;
    }
    return a.version < b.version;
  });
  return versions;
}

absl::StatusOr<StoredVersion> Store::Find(const std::string& wanted) const {
  const auto [name, prefix] = SplitVersion(wanted);
  std::vector<std::pair<std::string, std::string>> found;
  Walk(ModelsDirectory(), "", 0, &found);
  std::sort(found.begin(), found.end());
  const auto matches = [&](const std::string& candidate, bool exact) {
    if (exact) return candidate == name;
    const size_t slash = candidate.rfind('/');
    const std::string last = slash == std::string::npos ? candidate : candidate.substr(slash + 1);
    return strcasecmp(last.c_str(), name.c_str()) == 0 ||
           strcasecmp(candidate.c_str(), name.c_str()) == 0;
  };
  std::vector<std::string> names;
  for (const auto& [candidate, version] : found) {
    if (matches(candidate, true)) names = {candidate};
  }
  for (const auto& [candidate, version] : found) {
    if (!names.empty() && names[0] == name) break;
    if (matches(candidate, false) &&
        std::find(names.begin(), names.end(), candidate) == names.end()) {
      names.push_back(candidate);
    }
  }
  if (names.size() > 1) {
    return base::InputError(
        absl::StatusCode::kInvalidArgument,
        {.field = "model",
         .value = wanted,
         .expected = fmt::format("the full name: '{}'", fmt::join(names, "' or '"))});
  }
  if (names.empty()) {
    for (const auto& [candidate, version] : found) {
      if (names.empty() || names.back() != candidate) names.push_back(candidate);
    }
    const std::vector<std::string> close = CloseNames(name, names);
    return base::InputError(
        absl::StatusCode::kNotFound,
        {.field = "model",
         .value = wanted,
         .expected = "a model in the store at " + home_,
         .hint = close.empty() ? "`inhouse models` lists what is there."
                               : fmt::format("Did you mean '{}'?", fmt::join(close, "' or '"))});
  }
  const std::string current = ReadCurrent(ModelsDirectory() + "/" + names[0]);
  std::vector<std::string> versions;
  for (const auto& [candidate, version] : found) {
    if (candidate != names[0]) continue;
    if (prefix.empty() ? version == current : version.starts_with(prefix)) {
      versions.push_back(version);
    }
  }
  if (versions.size() == 1) return Load(names[0], versions[0]);
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.field = "model",
       .value = wanted,
       .expected = prefix.empty()     ? "a model with a current version"
                   : versions.empty() ? "a version of this model"
                                      : "more digits of the version: several begin so",
       .hint = "`inhouse models --all` lists the versions."});
}

absl::StatusOr<StoredVersion> Store::Add(const std::string& name, const std::string& files,
                                         Manifest manifest) const {
  INHOUSE_RETURN_IF_ERROR(CheckModelName(name));
  INHOUSE_RETURN_IF_ERROR(CheckSizes(files, manifest));
  if (manifest.created_at.empty()) manifest.created_at = TimestampNow();
  std::sort(manifest.files.begin(), manifest.files.end(),
            [](const ManifestFile& a, const ManifestFile& b) { return a.path < b.path; });
  const std::string version = VersionId(manifest);
  const std::string model = ModelsDirectory() + "/" + name;
  const std::string target = model + "/" + version;
  INHOUSE_RETURN_IF_ERROR(
      base::ReplaceFile(files + "/" + kManifestFileName, ManifestToJson(manifest)));
  MakeReadOnly(files);
  INHOUSE_ASSIGN_OR_RETURN(const ChangeLock lock, ChangeLock::Take(home_));
  INHOUSE_RETURN_IF_ERROR(MakeDirectories(model));
  if (Load(name, version).ok()) {
    INHOUSE_RETURN_IF_ERROR(DropDirectory(files));
  } else {
    if (access(target.c_str(), F_OK) == 0) INHOUSE_RETURN_IF_ERROR(DropDirectory(target));
    if (rename(files.c_str(), target.c_str()) != 0) {
      return base::OsError(errno, target, "move the finished files to");
    }
  }
  INHOUSE_RETURN_IF_ERROR(base::ReplaceFile(model + "/current", version + "\n"));
  return Load(name, version);
}

// Out of sight by one rename, then deleted: an interrupted removal leaves nothing half there.
absl::Status Store::DropDirectory(const std::string& directory) const {
  const std::string trash = home_ + "/trash";
  INHOUSE_RETURN_IF_ERROR(MakeDirectories(trash));
  std::string place = trash + "/XXXXXX";
  if (mkdtemp(place.data()) == nullptr) return base::OsError(errno, trash, "create a place in");
  if (rename(directory.c_str(), (place + "/x").c_str()) != 0) {
    return base::OsError(errno, directory, "remove");
  }
  std::error_code error;
  fs::remove_all(place, error);
  if (error) return FsError(error, place, "remove");
  return absl::OkStatus();
}

absl::StatusOr<std::vector<StoredVersion>> Store::Remove(const std::string& wanted) const {
  INHOUSE_ASSIGN_OR_RETURN(const ChangeLock lock, ChangeLock::Take(home_));
  const auto [unused, prefix] = SplitVersion(wanted);
  std::vector<StoredVersion> removed;
  INHOUSE_ASSIGN_OR_RETURN(StoredVersion found, Find(wanted));
  const std::string model = ModelsDirectory() + "/" + found.name;
  if (prefix.empty()) {
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<StoredVersion> all, List());
    for (const StoredVersion& version : all) {
      if (version.name == found.name) removed.push_back(version);
    }
  } else {
    removed.push_back(found);
  }
  // The alias goes first: at no moment does the name mean a version that is being deleted.
  const bool drops_current =
      std::any_of(removed.begin(), removed.end(), [](const StoredVersion& v) { return v.current; });
  if (drops_current && unlink((model + "/current").c_str()) != 0 && errno != ENOENT) {
    return base::OsError(errno, model + "/current", "remove");
  }
  for (const StoredVersion& version : removed) {
    INHOUSE_RETURN_IF_ERROR(DropDirectory(version.directory));
  }
  if (drops_current && !prefix.empty()) {  // the newest of the others takes its place
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<StoredVersion> rest, List());
    for (const StoredVersion& version : rest) {
      if (version.name != found.name) continue;
      INHOUSE_RETURN_IF_ERROR(base::ReplaceFile(model + "/current", version.version + "\n"));
      break;
    }
  }
  RemoveEmptyParents(model, ModelsDirectory());
  return removed;
}

absl::StatusOr<std::vector<VerifyFinding>> Store::Verify(
    const StoredVersion& version, const std::function<bool(uint64_t, uint64_t)>& progress) const {
  std::vector<VerifyFinding> findings;
  const uint64_t total = version.manifest.TotalBytes();
  uint64_t before = 0;
  for (const ManifestFile& file : version.manifest.files) {
    const std::string path = version.directory + "/" + file.path;
    struct stat info = {};
    if (stat(path.c_str(), &info) != 0) {
      findings.push_back({file.path, "missing"});
    } else if (static_cast<uint64_t>(info.st_size) != file.size) {
      findings.push_back(
          {file.path, fmt::format("{} bytes, the manifest says {}", info.st_size, file.size)});
    } else {
      const auto digest = base::Sha256File(
          path, [&](uint64_t done) { return !progress || progress(before + done, total); });
      if (absl::IsCancelled(digest.status())) return digest.status();
      if (!digest.ok()) {
        findings.push_back({file.path, base::Message(digest.status())});
      } else if (*digest != file.sha256) {
        findings.push_back(
            {file.path, fmt::format("SHA-256 {}, the manifest says {}", *digest, file.sha256)});
      }
    }
    before += file.size;
  }
  return findings;
}

}  // namespace inhouse::lifecycle
