#include <algorithm>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"
#include "guard/guard.h"

namespace inhouse::guard {

absl::StatusOr<std::shared_ptr<const Policy>> Policy::Create(PolicyOptions options) {
  auto policy = std::make_shared<Policy>();
  for (const KeyRecord& record : options.keys) {
    Key key{.record = record,
            .scopes = record.AllScopes(),
            .quota = record.QuotaOver(options.default_quota)};
    if (record.allow) {
      INHOUSE_ASSIGN_OR_RETURN(key.allow, CidrList::Parse(*record.allow));
    }
    for (const StoredSecret& secret : record.secrets) {
      const bool added =
          policy->locks_.emplace(secret.prefix, Lock{secret, policy->keys_.size()}).second;
      if (!added) {
        return base::InvalidInput({.field = "prefix",
                                   .value = secret.prefix,
                                   .expected = "a prefix that no other key has"});
      }
    }
    policy->keys_.push_back(std::move(key));
  }
  policy->options_ = std::move(options);
  return std::shared_ptr<const Policy>(std::move(policy));
}

const Policy::Key* Policy::Find(std::string_view text, absl::Time now) const {
  static constexpr Digest kNone = {};
  const auto secret = ParseSecret(text);
  if (!secret) return nullptr;  // what is not even spelled like a key tells nothing about any
  const auto found = locks_.find(secret->prefix);
  const Lock* lock = found == locks_.end() ? nullptr : &found->second;
  const bool same = SameDigest(secret->digest, lock == nullptr ? kNone : lock->secret.digest);
  if (lock == nullptr || !same) return nullptr;
  const Key& key = keys_[lock->key];
  const bool open =
      lock->secret.expires > now && key.record.expires > now && key.record.revoked > now;
  return open ? &key : nullptr;
}

const Policy::Key* Policy::FindById(std::string_view id, absl::Time now) const {
  const auto key =
      std::find_if(keys_.begin(), keys_.end(), [id](const Key& k) { return k.record.id == id; });
  if (key == keys_.end() || key->record.expires <= now || key->record.revoked <= now) {
    return nullptr;
  }
  const auto& secrets = key->record.secrets;
  const bool open = std::any_of(secrets.begin(), secrets.end(),
                                [now](const StoredSecret& secret) { return secret.expires > now; });
  return open ? &*key : nullptr;
}

}  // namespace inhouse::guard
