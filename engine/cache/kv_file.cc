#include "engine/cache/kv_file.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <string_view>
#include <utility>

#include "base/aead.h"
#include "base/hmac.h"
#include "base/new_file.h"
#include "base/status.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kMagic = "inhouse-kv-pages";
constexpr uint32_t kVersion = 1;

struct Preamble {
  char magic[16];
  uint32_t version;
  uint32_t pages;
  uint64_t page_bytes;
  uint8_t identity[32];
  uint8_t salt[32];

  std::string_view text() const { return {reinterpret_cast<const char*>(this), sizeof(*this)}; }
};
static_assert(sizeof(Preamble) == 96);

int64_t KeysBytes(int64_t pages) {
  return pages * int64_t{sizeof(PrefixKey)} + int64_t{base::kAeadTagBytes};
}
int64_t PageOffset(const KvFormat& format, int64_t pages, int64_t index) {
  return int64_t{sizeof(Preamble)} + KeysBytes(pages) +
         index * (format.page_bytes + int64_t{base::kAeadTagBytes});
}

// What a page is bound to.
std::string BoundTo(const Preamble& preamble, const PrefixKey& key) {
  return std::string(preamble.text()).append(base::AsText(key));
}

base::Aead CipherOf(const KvFormat& format, const Preamble& preamble) {
  std::string message = "inhouse kv file";
  message.append(reinterpret_cast<const char*>(preamble.salt), sizeof(preamble.salt));
  return base::Aead(base::HmacSha256(base::AsText(format.secret), message));
}

absl::Status Damaged(const std::string& path, const char* why) {
  return base::InputError(absl::StatusCode::kDataLoss, {.file = path, .expected = why});
}

// A file open for reading, whose preamble fits the format and whose length is right.
class KvReader {
 public:
  ~KvReader() {
    if (fd_ >= 0) close(fd_);
  }
  KvReader() = default;
  KvReader(const KvReader&) = delete;
  KvReader& operator=(const KvReader&) = delete;

  absl::Status Open(const std::string& path, const KvFormat& format) {
    path_ = path;
    fd_ = open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd_ < 0) return base::OsError(errno, path, "open");
    struct stat info = {};
    if (fstat(fd_, &info) != 0) return base::OsError(errno, path, "stat");
    if (!S_ISREG(info.st_mode)) return Damaged(path, "a regular file");
    INHOUSE_RETURN_IF_ERROR(ReadAt(0, std::as_writable_bytes(std::span(&preamble_, 1))));
    if (std::string_view(preamble_.magic, sizeof(preamble_.magic)) != kMagic) {
      return Damaged(path, "a file of pages");
    }
    if (preamble_.version != kVersion) return Damaged(path, "version 1 of the format");
    if (std::memcmp(preamble_.identity, format.identity.data(), format.identity.size()) != 0) {
      return Damaged(path, "pages of this model, at this level, of this build");
    }
    if (std::cmp_not_equal(preamble_.page_bytes, format.page_bytes) || preamble_.pages == 0 ||
        preamble_.pages > kKvFilePagesMax || info.st_size != KvFileBytes(format, pages())) {
      return Damaged(path, "the length that it says it has");
    }
    return absl::OkStatus();
  }

  int64_t pages() const { return preamble_.pages; }
  const Preamble& preamble() const { return preamble_; }

  absl::Status ReadAt(int64_t offset, std::span<std::byte> out) const {
    while (!out.empty()) {
      const ssize_t n = pread(fd_, out.data(), out.size(), offset);
      if (n < 0 && errno == EINTR) continue;
      if (n < 0) return base::OsError(errno, path_, "read");
      if (n == 0) return Damaged(path_, "more bytes");
      offset += n;
      out = out.subspan(static_cast<size_t>(n));
    }
    return absl::OkStatus();
  }

 private:
  std::string path_;
  int fd_ = -1;
  Preamble preamble_ = {};
};

}  // namespace

int64_t KvFileBytes(const KvFormat& format, int64_t pages) {
  return PageOffset(format, pages, pages);
}

absl::Status WriteKvFile(const std::string& path, const KvFormat& format,
                         std::span<const PrefixKey> keys, std::span<const std::byte> bytes) {
  const auto count = static_cast<int64_t>(keys.size());
  Preamble preamble = {};
  std::memcpy(preamble.magic, kMagic.data(), sizeof(preamble.magic));
  preamble.version = kVersion;
  preamble.pages = static_cast<uint32_t>(count);
  preamble.page_bytes = static_cast<uint64_t>(format.page_bytes);
  std::memcpy(preamble.identity, format.identity.data(), sizeof(preamble.identity));
  const std::string salt = base::RandomSecret(sizeof(preamble.salt));
  std::memcpy(preamble.salt, salt.data(), sizeof(preamble.salt));
  const base::Aead cipher = CipherOf(format, preamble);
  INHOUSE_ASSIGN_OR_RETURN(
      const auto file,
      base::NewFile::Create(path, static_cast<uint64_t>(KvFileBytes(format, count))));
  std::vector<std::byte> sealed(static_cast<size_t>(KeysBytes(count)));
  cipher.Seal(0, preamble.text(), std::as_bytes(keys), sealed.data());
  INHOUSE_RETURN_IF_ERROR(file->WriteAt(0, std::as_bytes(std::span(preamble.text()))));
  INHOUSE_RETURN_IF_ERROR(file->WriteAt(sizeof(Preamble), sealed));
  const auto page_bytes = static_cast<size_t>(format.page_bytes);
  sealed.resize(page_bytes + base::kAeadTagBytes);
  for (int64_t i = 0; i < count; ++i) {
    const auto at = static_cast<size_t>(i);
    cipher.Seal(static_cast<uint64_t>(i + 1), BoundTo(preamble, keys[at]),
                bytes.subspan(at * page_bytes, page_bytes), sealed.data());
    INHOUSE_RETURN_IF_ERROR(
        file->WriteAt(static_cast<uint64_t>(PageOffset(format, count, i)), sealed));
  }
  return file->Commit();
}

absl::StatusOr<std::vector<PrefixKey>> ReadKvKeys(const std::string& path, const KvFormat& format) {
  KvReader reader;
  INHOUSE_RETURN_IF_ERROR(reader.Open(path, format));
  std::vector<std::byte> sealed(static_cast<size_t>(KeysBytes(reader.pages())));
  INHOUSE_RETURN_IF_ERROR(reader.ReadAt(sizeof(Preamble), sealed));
  std::vector<PrefixKey> keys(static_cast<size_t>(reader.pages()));
  if (!CipherOf(format, reader.preamble())
           .Open(0, reader.preamble().text(), sealed,
                 std::as_writable_bytes(std::span(keys)).data())) {
    return Damaged(path, "undamaged keys, sealed with the configured secret");
  }
  return keys;
}

absl::Status ReadKvPage(const std::string& path, const KvFormat& format, int64_t index,
                        const PrefixKey& key, std::span<std::byte> out) {
  KvReader reader;
  INHOUSE_RETURN_IF_ERROR(reader.Open(path, format));
  if (index < 0 || index >= reader.pages()) return Damaged(path, "more pages");
  std::vector<std::byte> sealed(out.size() + base::kAeadTagBytes);
  INHOUSE_RETURN_IF_ERROR(reader.ReadAt(PageOffset(format, reader.pages(), index), sealed));
  if (!CipherOf(format, reader.preamble())
           .Open(static_cast<uint64_t>(index + 1), BoundTo(reader.preamble(), key), sealed,
                 out.data())) {
    return Damaged(path, "an undamaged page");
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
