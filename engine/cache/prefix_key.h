// Names of prefixes: whoever may not share a page cannot name it.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "base/sha256.h"

namespace inhouse::engine {

// A SHA-256 chain: the root stands for what is shared by whom, each page's key for its parent's key
// and its own tokens.
using PrefixKey = base::Sha256Bytes;

// On whose behalf, and by what, pages are computed. Different scopes share nothing.
struct PrefixScope {
  std::string_view tenant = {};    // given by the server, never by the client
  std::string_view salt = {};      // the client's: separates further, never less
  std::string_view identity = {};  // whatever else a page's bytes depend on: the adapter
};

// HMAC-SHA-256 under the server's secret: without it nobody can compute a key, or find out by
// timing whose prompt begins with what.
PrefixKey RootKey(std::string_view secret, const PrefixScope& scope);

// The key of the page that holds `tokens` after the prefix that `parent` names.
PrefixKey PageKey(const PrefixKey& parent, std::span<const int32_t> tokens);

struct PrefixKeyHash {
  size_t operator()(const PrefixKey& key) const;
};

}  // namespace inhouse::engine
