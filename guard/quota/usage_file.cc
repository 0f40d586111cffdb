#include "guard/quota/usage_file.h"

#include <fcntl.h>
#include <sys/file.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <limits>
#include <utility>

#include "base/config_file.h"
#include "base/file.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::guard {
namespace {

constexpr unsigned kOwnerOnly = 0600;

}  // namespace

absl::StatusOr<std::unique_ptr<UsageFile>> UsageFile::Open(const std::string& path) {
  const std::filesystem::path parent = std::filesystem::path(path).parent_path();
  std::error_code error;
  if (!parent.empty()) std::filesystem::create_directories(parent, error);
  const std::string lock_path = path + ".lock";
  const int lock = open(lock_path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, kOwnerOnly);
  if (lock < 0) return base::OsError(errno, lock_path, "open");
  if (flock(lock, LOCK_EX | LOCK_NB) != 0) {
    const int reason = errno;
    close(lock);
    if (reason != EWOULDBLOCK) return base::OsError(reason, lock_path, "lock");
    return base::InputError(absl::StatusCode::kUnavailable,
                            {.file = path,
                             .expected = "a usage file that no other server writes",
                             .hint = "Give each server its own with --usage-file."});
  }
  return std::unique_ptr<UsageFile>(new UsageFile(path, lock));
}

UsageFile::~UsageFile() { close(lock_); }

absl::StatusOr<UsageSnapshot> UsageFile::Load() const {
  UsageSnapshot usage;
  std::error_code error;
  if (!std::filesystem::exists(path_, error)) return usage;
  INHOUSE_ASSIGN_OR_RETURN(const auto file, base::ConfigFile::Load(path_));
  constexpr base::Range<int64_t> kCount = {0, std::numeric_limits<int64_t>::max()};
  file->root().Read("day", &usage.day, kCount);
  for (const base::ConfigTable& table : file->root().Tables("usage")) {
    std::string key;
    DayUsage day;
    if (!table.Read("key", &key)) table.Refuse("key", "", "the id of a key");
    table.Read("requests", &day.requests, kCount);
    table.Read("tokens", &day.tokens, kCount);
    usage.keys.emplace(std::move(key), day);
  }
  INHOUSE_RETURN_IF_ERROR(file->status());
  return usage;
}

absl::Status UsageFile::Save(const UsageSnapshot& usage) const {
  std::string text = fmt::format(
      "# What each key used today (UTC). Written by the server.\nday = {}  # since 1970-01-01\n",
      usage.day);
  for (const auto& [key, day] : usage.keys) {
    text += fmt::format("\n[[usage]]\nkey = {}\nrequests = {}\ntokens = {}\n",
                        base::TomlString(key), day.requests, day.tokens);
  }
  return base::ReplaceFile(path_, text, kOwnerOnly);
}

}  // namespace inhouse::guard
