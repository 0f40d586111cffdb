// Keyed hashes and secrets.
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

#include "base/sha256.h"

namespace inhouse::base {

// HMAC-SHA-256 (RFC 2104, FIPS 198-1; OpenSSL).
Sha256Bytes HmacSha256(std::string_view key, std::string_view message);

// Bytes that nobody can guess, from the operating system's generator.
std::string RandomSecret(size_t bytes);

inline std::string_view AsText(const Sha256Bytes& bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace inhouse::base
