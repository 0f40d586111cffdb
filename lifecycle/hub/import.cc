#include "lifecycle/hub/import.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <map>
#include <vector>

#include "absl/cleanup/cleanup.h"
#include "base/file.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"
#include "lifecycle/hub/staging.h"

namespace inhouse::lifecycle {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBlockBytes = 4 << 20;
constexpr size_t kFilesMax = 200000;

// Where the files lie and which there are (relative paths). Links to files are followed, as the
// caches of hubs are made of them; links to directories are not.
struct Source {
  std::string directory = {};
  std::vector<std::string> paths = {};
  std::string file = {};  // of a single .gguf
};

absl::StatusOr<Source> OpenSource(const std::string& path) {
  Source source;
  struct stat info = {};
  if (stat(path.c_str(), &info) != 0) return base::OsError(errno, path, "find");
  fs::path root = path;
  if (S_ISREG(info.st_mode)) {
    source.file = root.filename().string();
    root = root.has_parent_path() ? root.parent_path() : fs::path(".");
  }
  source.directory = root.string();
  std::error_code error;
  fs::recursive_directory_iterator it(root, error);
  for (const fs::recursive_directory_iterator end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->is_directory(ignored)) {
      const bool hidden = it->path().filename().string().starts_with('.');
      if (!source.file.empty() || hidden) it.disable_recursion_pending();
      continue;
    }
    if (!it->is_regular_file(ignored)) continue;
    source.paths.push_back(it->path().lexically_relative(root).generic_string());
    if (source.paths.size() > kFilesMax) {
      return base::InvalidInput({.file = path, .expected = "a directory of at most 200000 files"});
    }
  }
  if (error) return base::OsError(error.value(), path, "read the directory");
  return source;
}

// Digests that came with the files: path -> SHA-256.
absl::StatusOr<std::map<std::string, std::string>> KnownDigests(const std::string& directory) {
  std::map<std::string, std::string> known;
  const std::string manifest_path = directory + "/" + kManifestFileName;
  if (const auto text = base::ReadFile(manifest_path, 64ULL << 20); text.ok()) {
    INHOUSE_ASSIGN_OR_RETURN(const Manifest manifest, ManifestFromJson(*text, manifest_path));
    for (const ManifestFile& file : manifest.files) known[file.path] = file.sha256;
  }
  for (const char* name : {"SHA256SUMS", "sha256sums.txt"}) {
    const auto text = base::ReadFile(directory + "/" + name, 64ULL << 20);
    if (!text.ok()) continue;
    size_t begin = 0;
    while (begin < text->size()) {  // "<64 digits> *path" or "<64 digits>  path"
      size_t end = text->find('\n', begin);
      if (end == std::string::npos) end = text->size();
      std::string_view line(text->data() + begin, end - begin);
      begin = end + 1;
      if (line.ends_with('\r')) line.remove_suffix(1);
      if (line.size() < 67 || !IsSha256(line.substr(0, 64))) continue;
      std::string_view path = line.substr(66);
      if (path.starts_with("./")) path.remove_prefix(2);
      known[std::string(path)] = std::string(line.substr(0, 64));
    }
  }
  return known;
}

absl::Status WriteAll(int fd, const std::string& path, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = write(fd, bytes.data(), bytes.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::OsError(errno, path, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

// A copy that shares the blocks where the file system can (btrfs, XFS), else a real one. Returns
// the digest of what was read. `read` grows and returns false to cancel.
absl::StatusOr<std::string> CopyFile(const std::string& from, const std::string& to,
                                     const std::function<bool(uint64_t)>& progress) {
  const int in = open(from.c_str(), O_RDONLY | O_CLOEXEC);
  if (in < 0) return base::OsError(errno, from, "open");
  const absl::Cleanup close_in = [in] { close(in); };
  const int out = open(to.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
  if (out < 0) return base::OsError(errno, to, "create");
  const absl::Cleanup close_out = [out] { close(out); };
  const bool cloned = ioctl(out, FICLONE, in) == 0;
  base::Sha256 hash;
  std::string block(kBlockBytes, '\0');
  uint64_t done = 0;
  while (true) {
    const ssize_t n = read(in, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::OsError(errno, from, "read");
    if (n == 0) break;
    const std::string_view bytes(block.data(), static_cast<size_t>(n));
    hash.Update(bytes);
    if (!cloned) INHOUSE_RETURN_IF_ERROR(WriteAll(out, to, bytes));
    done += bytes.size();
    if (!progress(done)) return absl::CancelledError("cancelled");
  }
  if (fsync(out) != 0) return base::OsError(errno, to, "sync");
  return hash.FinishHex();
}

// The digest of the file at its new place.
absl::StatusOr<std::string> TakeFile(const std::string& from, const std::string& to,
                                     ImportMode mode,
                                     const std::function<bool(uint64_t)>& progress) {
  unlink(to.c_str());
  if (mode == ImportMode::kHardLink) {
    std::error_code error;
    const fs::path real = fs::canonical(from, error);  // the file, not a link to it
    if (!error && link(real.c_str(), to.c_str()) == 0) return base::Sha256File(to, progress);
  }
  return CopyFile(from, to, progress);
}

}  // namespace

absl::StatusOr<std::vector<ManifestFile>> ImportFiles(const std::string& path,
                                                      const std::string& directory,
                                                      const PullOptions& options,
                                                      const PullObserver& observer) {
  INHOUSE_ASSIGN_OR_RETURN(const Source source, OpenSource(path));
  Selection selection = options.selection;
  if (!source.file.empty()) selection.file = source.file;
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<std::string> chosen,
                           SelectFiles(source.paths, selection, path));
  INHOUSE_ASSIGN_OR_RETURN(const auto known, KnownDigests(source.directory));
  uint64_t total = 0;
  std::vector<ManifestFile> files;
  for (const std::string& relative : chosen) {
    INHOUSE_RETURN_IF_ERROR(CheckRelativePath(relative, path));
    std::error_code error;
    const uint64_t size = fs::file_size(source.directory + "/" + relative, error);
    if (error) return base::OsError(error.value(), source.directory + "/" + relative, "read");
    files.push_back({.path = relative, .size = size});
    total += size;
  }
  if (options.import_mode == ImportMode::kCopy) {
    INHOUSE_RETURN_IF_ERROR(CheckFreeBytes(directory, total));
  }
  uint64_t before = 0;
  for (ManifestFile& file : files) {
    const std::string from = source.directory + "/" + file.path;
    const std::string to = directory + "/" + file.path;
    INHOUSE_RETURN_IF_ERROR(MakeParentDirectories(to));
    INHOUSE_ASSIGN_OR_RETURN(file.sha256,
                             TakeFile(from, to, options.import_mode, [&](uint64_t done) {
                               if (observer.on_bytes)
                                 observer.on_bytes("importing", before + done, total);
                               return !observer.cancelled || !observer.cancelled();
                             }));
    const auto expected = known.find(file.path);
    if (expected != known.end() && expected->second != file.sha256) {
      return base::InputError(absl::StatusCode::kDataLoss,
                              {.file = from,
                               .field = "SHA-256",
                               .value = file.sha256,
                               .expected = expected->second + ", as the list beside it says",
                               .hint = "The file is damaged: copy it again."});
    }
    std::error_code error;
    const uint64_t size = fs::file_size(to, error);
    if (error || size != file.size) {
      return absl::DataLossError(fmt::format("{}: it changed while it was read", from));
    }
    before += file.size;
  }
  return files;
}

}  // namespace inhouse::lifecycle
