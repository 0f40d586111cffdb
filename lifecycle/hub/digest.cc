#include "lifecycle/hub/digest.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>

#include "absl/cleanup/cleanup.h"
#include "base/check.h"
#include "base/sha256.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::lifecycle {
namespace {

// git hash-object: SHA-1 of "blob <size>\0" and the content. Weak against an attacker, good against
// damage: hubs give nothing else for small files.
absl::StatusOr<std::string> GitBlobSha1(const std::string& path, uint64_t size,
                                        const std::function<bool()>& go_on) {
  const int fd = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (fd < 0) return base::OsError(errno, path, "open");
  EVP_MD_CTX* context = EVP_MD_CTX_new();
  const absl::Cleanup cleaner = [fd, context] {
    close(fd);
    EVP_MD_CTX_free(context);
  };
  const std::string header = fmt::format("blob {}", size);
  INHOUSE_CHECK(EVP_DigestInit_ex(context, EVP_sha1(), nullptr) == 1 &&
                    EVP_DigestUpdate(context, header.c_str(), header.size() + 1) == 1,
                "OpenSSL has SHA-1");
  std::string block(1 << 20, '\0');
  while (true) {
    if (!go_on()) return absl::CancelledError("cancelled");
    const ssize_t n = read(fd, block.data(), block.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::OsError(errno, path, "read");
    if (n == 0) break;
    EVP_DigestUpdate(context, block.data(), static_cast<size_t>(n));
  }
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context, digest, &length);
  std::string hex;
  for (unsigned i = 0; i < length; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace

absl::Status CheckDigest(const std::string& path, const RemoteFile& expected,
                         const std::function<bool()>& go_on) {
  std::string wanted = expected.sha256;
  const char* kind = "SHA-256";
  absl::StatusOr<std::string> digest = std::string();
  if (!wanted.empty()) {
    digest = base::Sha256File(path, [&](uint64_t) { return go_on(); });
  } else if (!expected.git_sha1.empty()) {
    wanted = expected.git_sha1;
    kind = "git SHA-1";
    digest = GitBlobSha1(path, expected.size, go_on);
  } else {
    return absl::OkStatus();
  }
  if (!digest.ok()) return digest.status();
  if (*digest == wanted) return absl::OkStatus();
  return absl::DataLossError(fmt::format("{}: wrong content: {} {}, the hub lists {}",
                                         expected.path, kind, *digest, wanted));
}

}  // namespace inhouse::lifecycle
