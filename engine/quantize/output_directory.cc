#include "engine/quantize/output_directory.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <filesystem>
#include <system_error>
#include <vector>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/safetensors.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

namespace fs = std::filesystem;

constexpr std::string_view kIndex = "model.safetensors.index.json";
constexpr std::string_view kConfig = "config.json";

bool IsWeightFile(std::string_view name) {
  return name == kIndex || (name.starts_with("model") && name.ends_with(".safetensors"));
}

// "model-00001-of-00002.safetensors.Ab3xYz": what a killed run leaves.
bool IsTemporary(std::string_view name) {
  constexpr size_t kSuffix = 7;
  return name.size() > kSuffix && name[name.size() - kSuffix] == '.' &&
         (IsWeightFile(name.substr(0, name.size() - kSuffix)) ||
          name.substr(0, name.size() - kSuffix).ends_with(".json"));
}

// Small files that a finished model has beside its weights.
bool IsSideFile(std::string_view name) {
  return name.ends_with(".json") || name.ends_with(".jinja") || name.ends_with(".txt") ||
         name.ends_with(".model");
}

absl::StatusOr<std::vector<std::string>> List(const std::string& path) {
  std::vector<std::string> names;
  std::error_code error;
  for (fs::directory_iterator it(path, error), end; !error && it != end; it.increment(error)) {
    names.push_back(it->path().filename().string());
  }
  if (error) return base::OsError(error.value(), path, "list");
  std::sort(names.begin(), names.end());
  return names;
}

absl::Status Remove(const std::string& path) {
  std::error_code error;
  fs::remove(path, error);
  return error ? base::OsError(error.value(), path, "remove") : absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<OutputDirectory>> OutputDirectory::Open(const std::string& path,
                                                                       const QuantPlan& plan,
                                                                       const std::string& key,
                                                                       bool force) {
  std::error_code error;
  fs::create_directories(path, error);
  if (error) return base::OsError(error.value(), path, "create the directory");
  std::unique_ptr<OutputDirectory> directory(new OutputDirectory(path, key));
  INHOUSE_RETURN_IF_ERROR(directory->Lock());
  INHOUSE_RETURN_IF_ERROR(directory->CheckContents(plan, force));
  return directory;
}

OutputDirectory::~OutputDirectory() {
  if (lock_ >= 0) close(lock_);
}

std::string OutputDirectory::PathOf(std::string_view file) const {
  return (fs::path(path_) / file).string();
}

absl::Status OutputDirectory::Lock() {
  lock_ = open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC);
  if (lock_ < 0) return base::OsError(errno, path_, "open the directory");
  if (flock(lock_, LOCK_EX | LOCK_NB) == 0) return absl::OkStatus();
  return base::InputError(absl::StatusCode::kUnavailable,
                          {.file = path_, .expected = "no other run that writes to it"});
}

absl::Status OutputDirectory::CheckContents(const QuantPlan& plan, bool force) const {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> names, List(path_));
  const bool finished = std::find(names.begin(), names.end(), kConfig) != names.end();
  if (finished && !force) {
    return base::InputError(absl::StatusCode::kAlreadyExists,
                            {.file = path_,
                             .expected = "a directory without a finished model",
                             .hint = "--force replaces it"});
  }
  std::vector<std::string> doomed;
  for (const std::string& name : names) {
    const auto shard = std::find_if(plan.shards.begin(), plan.shards.end(),
                                    [&name](const auto& s) { return s.file == name; });
    if (shard != plan.shards.end() && Finished(*shard)) continue;
    if (IsTemporary(name) || (force && (IsWeightFile(name) || IsSideFile(name)))) {
      doomed.push_back(name);
    } else if (!IsSideFile(name)) {
      return base::InputError(
          absl::StatusCode::kAlreadyExists,
          {.file = PathOf(name),
           .expected = "an empty directory, or one in which this very command was interrupted",
           .hint = IsWeightFile(name) ? "--force removes the weights that are there" : ""});
    }
  }
  // Without config.json nobody takes the rest for a model.
  if (finished) INHOUSE_RETURN_IF_ERROR(Remove(PathOf(kConfig)));
  for (const std::string& name : doomed) INHOUSE_RETURN_IF_ERROR(Remove(PathOf(name)));
  return absl::OkStatus();
}

bool OutputDirectory::Finished(const PlannedShard& shard) const {
  const auto file = base::MappedFile::Open(PathOf(shard.file));
  if (!file.ok()) return false;
  // Every byte of a valid file is accounted for by its header: a cut file is no valid one.
  const auto header = ParseSafetensors(PathOf(shard.file), (*file)->bytes());
  if (!header.ok()) return false;
  const auto key = header->metadata.find(kPlanKeyName);
  return key != header->metadata.end() && key->second == key_;
}

absl::Status OutputDirectory::CheckSpace(int64_t bytes) const {
  struct statvfs disk = {};
  if (statvfs(path_.c_str(), &disk) != 0)
    return base::OsError(errno, path_, "ask the free space of");
  const auto free = static_cast<double>(disk.f_bavail) * static_cast<double>(disk.f_frsize);
  if (free >= static_cast<double>(bytes)) return absl::OkStatus();
  return base::InputError(
      absl::StatusCode::kResourceExhausted,
      {.file = path_,
       .field = "free disk space",
       .value = fmt::format("{:.1f} MB", free / 1e6),
       .expected = fmt::format("at least {:.1f} MB", static_cast<double>(bytes) / 1e6)});
}

}  // namespace inhouse::engine
