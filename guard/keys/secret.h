// The text of an API key: how it is made, read and compared.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace inhouse::guard {

using Digest = std::array<uint8_t, 32>;

// "ih_" + 8 characters by which the key is found + "_" + 43 characters of secret: 256 random bits
// (43 draws from 62 characters). The part before the second underscore is the prefix, which may be
// shown and logged.
struct Secret {
  std::string text = {};
  std::string prefix = {};  // "ih_Ab3dE9xQ"
  Digest digest = {};       // SHA-256 of the text: all that is stored
};

// From the system's random numbers; fails if these do.
absl::StatusOr<Secret> NewSecret();
// Nothing if the text is not spelled like a key. Says nothing about whether it is one.
std::optional<Secret> ParseSecret(std::string_view text);

// In constant time.
bool SameDigest(const Digest& a, const Digest& b);

std::string DigestHex(const Digest& digest);
std::optional<Digest> ParseDigest(std::string_view hex);

// The stable id of a key's record, "key_" + 12 characters.
absl::StatusOr<std::string> NewRecordId();

}  // namespace inhouse::guard
