// One API key as the keys file holds it.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "guard/access/address.h"
#include "guard/keys/scope.h"
#include "guard/keys/secret.h"

namespace inhouse::guard {

// How much a key may use; 0 = no limit.
struct Quota {
  int64_t requests_per_minute = 0;
  int64_t requests_per_day = 0;
  int64_t tokens_per_minute = 0;  // of prompts and answers
  int64_t tokens_per_day = 0;
  int64_t concurrent = 0;  // requests in flight
};

// A text that opens this key. Rotation adds one and ends the others after a time of grace.
struct StoredSecret {
  std::string prefix = {};
  Digest digest = {};
  absl::Time created = absl::InfinitePast();
  absl::Time expires = absl::InfiniteFuture();
};

// The record's id, its tenant and its counters stay through rotations.
struct KeyRecord {
  std::string id = {};      // "key_…"
  std::string name = {};    // for people
  std::string tenant = {};  // whose cache, whose fair share; "" = the key's own
  std::string role = {};    // "" = none, scopes only
  std::vector<std::string> scopes = {};
  std::vector<std::string> models = {};                // none = every model
  std::optional<std::vector<std::string>> allow = {};  // CIDR blocks; absent = every address
  std::optional<int64_t> requests_per_minute = {};  // absent = the server's default; 0 = no limit
  std::optional<int64_t> requests_per_day = {};
  std::optional<int64_t> tokens_per_minute = {};
  std::optional<int64_t> tokens_per_day = {};
  std::optional<int64_t> concurrent = {};
  absl::Time created = absl::InfinitePast();
  absl::Time expires = absl::InfiniteFuture();
  absl::Time revoked = absl::InfiniteFuture();
  std::vector<StoredSecret> secrets = {};

  // Role and scopes together.
  Scopes AllScopes() const;
  Quota QuotaOver(const Quota& defaults) const;
  const std::string& Tenant() const { return tenant.empty() ? id : tenant; }
  // "active", "expired" or "revoked".
  std::string_view State(absl::Time now) const;
};

}  // namespace inhouse::guard
