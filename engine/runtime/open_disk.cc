#include "engine/runtime/open_disk.h"

#include <string>

#include "base/build_id.h"
#include "base/hmac.h"
#include "base/status.h"
#include "engine/formats/model_digest.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr size_t kKeyBytesMin = 32;

// Everything that the bits of a page depend on, beside its tokens and the adapter (PrefixScope).
// The secret too, so that each has files of its own.
base::Sha256Bytes IdentityOf(const EngineOptions& options, const Checkpoint& checkpoint,
                             const ModelFacts& facts, const ModelInfo& info) {
  const std::string& build = options.build.empty() ? base::BuildId() : options.build;
  return base::HmacSha256(
      options.kv_disk_key,
      fmt::format("inhouse kv identity|{}|{}|{}|{}|{}|{}|{}|{}|{}", info.digest,
                  FileTimes(checkpoint), facts.architecture, Name(facts.kv), facts.page_bytes,
                  kPageTokens, info.isa, info.activation_bits, build));
}

}  // namespace

absl::StatusOr<std::unique_ptr<DiskTier>> OpenDisk(const EngineOptions& options,
                                                   const Checkpoint& checkpoint,
                                                   const ModelFacts& facts, const ModelInfo& info) {
  if (options.kv_disk.empty()) return nullptr;
  if (!options.prefix_cache) {
    return base::InvalidInput({.field = "kv_disk",
                               .value = options.kv_disk,
                               .expected = "no disk tier without the prefix cache"});
  }
  if (options.kv_disk_key.size() < kKeyBytesMin) {
    return base::InvalidInput(
        {.field = "kv_disk_key",
         .value = fmt::format("{} bytes", options.kv_disk_key.size()),
         .expected = "a secret of at least 32 bytes: what is kept on disk is encrypted"});
  }
  const KvFormat format = {
      .secret = base::HmacSha256(options.kv_disk_key, "inhouse kv disk"),
      .identity = IdentityOf(options, checkpoint, facts, info),
      .page_bytes = static_cast<int64_t>(AlignUp(static_cast<size_t>(facts.page_bytes), 64))};
  return DiskTier::Open(
      {.directory = options.kv_disk, .bytes_max = options.kv_disk_bytes, .format = format});
}

}  // namespace inhouse::engine
