#include "lifecycle/hub/part.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "base/file.h"
#include "base/status.h"
#include "lifecycle/hub/staging.h"
#include "nlohmann/json.hpp"

namespace inhouse::lifecycle {
namespace {

using Json = nlohmann::json;

// What the part is for: a part of another content is of no use.
std::string Identity(const RemoteFile& file) {
  return file.sha256.empty() ? file.git_sha1 : file.sha256;
}

bool IsNumber(const Json& json) { return json.is_number_unsigned(); }

}  // namespace

absl::StatusOr<std::shared_ptr<PartFile>> PartFile::Open(const std::string& path, uint64_t size,
                                                         bool keep_content) {
  if (!keep_content) unlink(path.c_str());
  const int fd = open(path.c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0644);
  if (fd < 0) return base::OsError(errno, path, "create");
  std::shared_ptr<PartFile> file(new PartFile(path, fd));
  if (ftruncate(fd, static_cast<off_t>(size)) != 0) return base::OsError(errno, path, "size");
  return file;
}

PartFile::~PartFile() { close(fd_); }

absl::Status PartFile::Write(uint64_t offset, std::span<const std::byte> bytes) const {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::OsError(errno, path_, "write");
    offset += static_cast<uint64_t>(n);
    bytes = bytes.subspan(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::Status PartFile::Sync() const {
  if (fsync(fd_) != 0) return base::OsError(errno, path_, "sync");
  return absl::OkStatus();
}

uint64_t Part::BytesDone() const {
  if (state == State::kFinished) return remote.size;
  uint64_t done = 0;
  for (const PartRange& range : ranges) done += range.done;
  return done;
}

bool Part::Complete() const {
  return std::all_of(ranges.begin(), ranges.end(), [](const PartRange& r) { return r.complete(); });
}

void Part::SetRanges(uint64_t range_bytes) {
  ranges.clear();
  // A rest that is smaller than half a range is not worth a request of its own.
  uint64_t begin = 0;
  while (begin < remote.size) {
    uint64_t end = std::min(begin + range_bytes, remote.size);
    if (remote.size - end < range_bytes / 2) end = remote.size;
    ranges.push_back({.begin = begin, .end = end});
    begin = end;
  }
  if (ranges.size() == 1) ranges[0].best = best_whole;
}

absl::Status Part::Open(uint64_t range_bytes) {
  INHOUSE_RETURN_IF_ERROR(MakeParentDirectories(part_path));
  state = State::kOpen;
  if (LoadState()) {
    INHOUSE_ASSIGN_OR_RETURN(file, PartFile::Open(part_path, remote.size, true));
    resumed = BytesDone() > 0;
    return absl::OkStatus();
  }
  return Restart(range_bytes);
}

absl::Status Part::Restart(uint64_t range_bytes) {
  if (ranges.size() == 1) best_whole = std::max(best_whole, ranges[0].best);
  ++generation;
  etag.clear();
  ranges_work = false;
  resumed = false;
  unlink(state_path.c_str());
  INHOUSE_ASSIGN_OR_RETURN(file, PartFile::Open(part_path, remote.size, false));
  SetRanges(range_bytes);
  return absl::OkStatus();
}

std::string Part::StateJson() const {
  Json list = Json::array();
  for (const PartRange& range : ranges) list.push_back({range.begin, range.end, range.done});
  const Json json = {
      {"size", remote.size}, {"identity", Identity(remote)}, {"etag", etag}, {"ranges", list}};
  return json.dump(-1, ' ', false, Json::error_handler_t::replace);
}

bool Part::LoadState() {
  struct stat info = {};
  if (stat(part_path.c_str(), &info) != 0 || static_cast<uint64_t>(info.st_size) != remote.size) {
    return false;
  }
  const auto text = base::ReadFile(state_path, 64ULL << 20);
  if (!text.ok()) return false;
  const Json json = Json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object() || json.value("/size"_json_pointer, Json()) != remote.size ||
      json.value("/identity"_json_pointer, Json()) != Identity(remote)) {
    return false;
  }
  const Json tag = json.value("/etag"_json_pointer, Json());
  const Json list = json.value("/ranges"_json_pointer, Json());
  if (!tag.is_string() || !list.is_array()) return false;
  std::vector<PartRange> loaded;
  uint64_t next = 0;  // the ranges must tile the file
  for (const Json& entry : list) {
    if (!entry.is_array() || entry.size() != 3 ||
        !std::all_of(entry.begin(), entry.end(), IsNumber)) {
      return false;
    }
    PartRange range = {.begin = entry[0].get<uint64_t>(),
                       .end = entry[1].get<uint64_t>(),
                       .done = entry[2].get<uint64_t>()};
    if (range.begin != next || range.end <= range.begin || range.done > range.end - range.begin) {
      return false;
    }
    range.best = range.done;
    next = range.end;
    loaded.push_back(range);
  }
  if (next != remote.size) return false;
  ranges = std::move(loaded);
  etag = tag.get<std::string>();
  return true;
}

void Part::RemoveFiles() {
  unlink(part_path.c_str());
  unlink(state_path.c_str());
}

}  // namespace inhouse::lifecycle
