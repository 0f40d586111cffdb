#include "guard/keys/key_record.h"

#include <algorithm>

namespace inhouse::guard {

Scopes KeyRecord::AllScopes() const {
  Scopes all = RoleScopes(role).value_or(Scopes());
  for (const std::string& name : scopes) {
    if (const auto scope = ParseScope(name)) all.Add(*scope);
  }
  return all;
}

Quota KeyRecord::QuotaOver(const Quota& defaults) const {
  return {.requests_per_minute = requests_per_minute.value_or(defaults.requests_per_minute),
          .requests_per_day = requests_per_day.value_or(defaults.requests_per_day),
          .tokens_per_minute = tokens_per_minute.value_or(defaults.tokens_per_minute),
          .tokens_per_day = tokens_per_day.value_or(defaults.tokens_per_day),
          .concurrent = concurrent.value_or(defaults.concurrent)};
}

std::string_view KeyRecord::State(absl::Time now) const {
  if (revoked <= now) return "revoked";
  const bool open = std::any_of(secrets.begin(), secrets.end(),
                                [now](const StoredSecret& s) { return s.expires > now; });
  return expires <= now || !open ? "expired" : "active";
}

}  // namespace inhouse::guard
