#include "engine/cache/prefix_key.h"

#include <cstring>
#include <string>

#include "base/hmac.h"

namespace inhouse::engine {
namespace {

// Behind its length, so that no two lists of parts have the same text.
void AppendPart(std::string_view part, std::string* out) {
  const uint64_t size = part.size();
  out->append(reinterpret_cast<const char*>(&size), sizeof(size));
  out->append(part);
}

}  // namespace

PrefixKey RootKey(std::string_view secret, const PrefixScope& scope) {
  std::string text = "inhouse prefix v1";
  AppendPart(scope.tenant, &text);
  AppendPart(scope.salt, &text);
  AppendPart(scope.identity, &text);
  return base::HmacSha256(secret, text);
}

PrefixKey PageKey(const PrefixKey& parent, std::span<const int32_t> tokens) {
  base::Sha256 hash;
  hash.Update(base::AsText(parent));
  hash.Update(std::as_bytes(tokens));
  return hash.Finish();
}

size_t PrefixKeyHash::operator()(const PrefixKey& key) const {
  size_t out = 0;  // a digest's bytes are as good as random
  std::memcpy(&out, key.data(), sizeof(out));
  return out;
}

}  // namespace inhouse::engine
