// Authenticated encryption.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/sha256.h"

namespace inhouse::base {

inline constexpr size_t kAeadTagBytes = 16;

// AES-256-GCM (NIST SP 800-38D; OpenSSL) under one key, for texts that are numbered: a number must
// not seal two different texts, so take a new key for each file. Thread-safe.
class Aead {
 public:
  explicit Aead(const Sha256Bytes& key) : key_(key) {}

  // Writes plain.size() bytes and the tag to `out`. `bound` is not in it, but must be the same when
  // it is opened.
  void Seal(uint64_t number, std::string_view bound, std::span<const std::byte> plain,
            std::byte* out) const;
  // Writes sealed.size() - kAeadTagBytes bytes to `out`. False, and zeros, if key, number, `bound`
  // or any bit is not what it was.
  bool Open(uint64_t number, std::string_view bound, std::span<const std::byte> sealed,
            std::byte* out) const;

 private:
  Sha256Bytes key_;
};

}  // namespace inhouse::base
