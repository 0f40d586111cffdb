#include "base/hmac.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/rand.h>

#include "base/check.h"

namespace inhouse::base {

Sha256Bytes HmacSha256(std::string_view key, std::string_view message) {
  Sha256Bytes out = {};
  unsigned size = 0;
  const bool done = HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()),
                         reinterpret_cast<const unsigned char*>(message.data()), message.size(),
                         out.data(), &size) != nullptr;
  INHOUSE_CHECK(done && size == out.size(), "OpenSSL has no HMAC-SHA-256");
  return out;
}

std::string RandomSecret(size_t bytes) {
  std::string out(bytes, '\0');
  INHOUSE_CHECK(
      RAND_bytes(reinterpret_cast<unsigned char*>(out.data()), static_cast<int>(bytes)) == 1,
      "the system has no randomness");
  return out;
}

}  // namespace inhouse::base
