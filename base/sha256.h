// SHA-256 of streams and files.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace inhouse::base {

using Sha256Bytes = std::array<uint8_t, 32>;

// An incremental SHA-256 (OpenSSL). Owned by one thread.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  Sha256(Sha256&&) noexcept;
  Sha256& operator=(Sha256&&) noexcept;

  void Update(std::span<const std::byte> bytes);
  void Update(std::string_view text);

  // The digest, raw or as 64 lower-case hexadecimal digits. The object must not be updated
  // afterwards.
  Sha256Bytes Finish();
  std::string FinishHex();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// The digest of a file. `progress` is told the bytes read so far; returning false cancels.
absl::StatusOr<std::string> Sha256File(const std::string& path,
                                       const std::function<bool(uint64_t)>& progress = {});

}  // namespace inhouse::base
