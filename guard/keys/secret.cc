#include "guard/keys/secret.h"

#include <openssl/crypto.h>
#include <openssl/rand.h>
#include <openssl/sha.h>

#include <algorithm>
#include <vector>

#include "absl/strings/escaping.h"

namespace inhouse::guard {
namespace {

constexpr std::string_view kAlphabet =
    "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
constexpr std::string_view kMark = "ih_";
constexpr size_t kHandleChars = 8;
constexpr size_t kSecretChars = 43;  // 62^43 > 2^256
constexpr size_t kPrefixChars = 3 + kHandleChars;
constexpr size_t kTextChars = kPrefixChars + 1 + kSecretChars;

// Uniform: bytes from 248 on would favour the first characters, and are drawn again.
absl::StatusOr<std::string> RandomText(size_t length) {
  std::string out;
  std::array<unsigned char, 64> bytes = {};
  while (out.size() < length) {
    if (RAND_bytes(bytes.data(), static_cast<int>(bytes.size())) != 1) {
      return absl::InternalError("the system gives no random numbers");
    }
    for (const unsigned char byte : bytes) {
      if (byte < 248 && out.size() < length) out += kAlphabet[byte % kAlphabet.size()];
    }
  }
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return out;
}

Secret FromText(std::string text) {
  Secret secret;
  secret.prefix = text.substr(0, kPrefixChars);
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), secret.digest.data());
  secret.text = std::move(text);
  return secret;
}

}  // namespace

absl::StatusOr<Secret> NewSecret() {
  const absl::StatusOr<std::string> random = RandomText(kHandleChars + kSecretChars);
  if (!random.ok()) return random.status();
  return FromText(std::string(kMark) + random->substr(0, kHandleChars) + "_" +
                  random->substr(kHandleChars));
}

std::optional<Secret> ParseSecret(std::string_view text) {
  if (text.size() != kTextChars || !text.starts_with(kMark) || text[kPrefixChars] != '_') {
    return std::nullopt;
  }
  for (size_t i = kMark.size(); i < text.size(); ++i) {
    if (i != kPrefixChars && kAlphabet.find(text[i]) == std::string_view::npos) {
      return std::nullopt;
    }
  }
  return FromText(std::string(text));
}

bool SameDigest(const Digest& a, const Digest& b) {
  return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

std::string DigestHex(const Digest& digest) {
  return absl::BytesToHexString(
      absl::string_view(reinterpret_cast<const char*>(digest.data()), digest.size()));
}

std::optional<Digest> ParseDigest(std::string_view hex) {
  Digest digest = {};
  if (hex.size() != 2 * digest.size() ||
      hex.find_first_not_of("0123456789abcdef") != std::string_view::npos) {
    return std::nullopt;
  }
  const std::string bytes = absl::HexStringToBytes(absl::string_view(hex.data(), hex.size()));
  std::copy(bytes.begin(), bytes.end(), digest.begin());
  return digest;
}

absl::StatusOr<std::string> NewRecordId() {
  absl::StatusOr<std::string> random = RandomText(12);
  if (!random.ok()) return random.status();
  return "key_" + *random;
}

}  // namespace inhouse::guard
