// A file of the disk tier: pages of prefixes, encrypted.
//
//   preamble   magic "inhouse-kv-pages", u32 version, u32 pages, u64 bytes of a page, identity[32],
//              salt[32]                                        as they are, little-endian
//   keys       the key[32] of each page (prefix_key.h)         sealed
//   pages      the bytes of each page                          sealed, each alone
//
// Sealed: AES-256-GCM under HMAC(secret, "inhouse kv file" + salt), which is the file's own; keys
// are number 0, pages 1 and up; bound to the preamble, a page also to its key. So a page can be had
// under the key by which its tokens are named and for the model that computed it, or not at all.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/cache/prefix_key.h"

namespace inhouse::engine {

// The same for all files of a tier.
struct KvFormat {
  base::Sha256Bytes secret = {};
  base::Sha256Bytes identity = {};  // of whatever the bytes of a page depend on beside its tokens
  int64_t page_bytes = 0;
};

inline constexpr int64_t kKvFilePagesMax = 1 << 16;

// The file appears when it is whole (also after a crash); its name is free to choose. `bytes` are
// those of all pages, one after the other.
absl::Status WriteKvFile(const std::string& path, const KvFormat& format,
                         std::span<const PrefixKey> keys, std::span<const std::byte> bytes);

// The keys of a file's pages. DataLoss if it is not one of ours: cut, damaged, of another secret,
// model, format or version; the message says which where it can be known. The system's error if it
// cannot be read.
absl::StatusOr<std::vector<PrefixKey>> ReadKvKeys(const std::string& path, const KvFormat& format);

// The bytes of page `index`, whose key is `key`, into `out` [page_bytes]. Fails as above.
absl::Status ReadKvPage(const std::string& path, const KvFormat& format, int64_t index,
                        const PrefixKey& key, std::span<std::byte> out);

int64_t KvFileBytes(const KvFormat& format, int64_t pages);

}  // namespace inhouse::engine
