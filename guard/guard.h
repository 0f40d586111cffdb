// The door: who comes in, and what for. One Guard stands in front of every route.
#pragma once

#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "guard/access/address.h"
#include "guard/access/client.h"
#include "guard/keys/key_record.h"
#include "guard/quota/limiter.h"

namespace inhouse::guard {

// Everything that a reload can change.
struct PolicyOptions {
  bool keys_required = false;  // false: whoever has an allowed address may do everything
  std::vector<KeyRecord> keys = {};
  std::optional<CidrList> allow = {};  // absent: every address; empty: none
  CidrList deny = {};                  // goes before `allow`
  CidrList trusted_proxies = {};
  ForwardedHeader forwarded = ForwardedHeader::kXForwardedFor;
  Quota default_quota = {};  // of keys that say nothing
};

// An immutable set of rules with the keys in a table by prefix.
class Policy {
 public:
  static absl::StatusOr<std::shared_ptr<const Policy>> Create(PolicyOptions options);

  struct Key {
    KeyRecord record = {};
    Scopes scopes = {};
    std::optional<CidrList> allow = {};
    Quota quota = {};
  };
  const PolicyOptions& options() const { return options_; }
  // The key that `text` opens at that time; null for any reason. Takes the same time for a wrong
  // secret as for an unknown prefix.
  const Key* Find(std::string_view text, absl::Time now) const;
  // The key with that id, if any text could open it at that time; else null.
  const Key* FindById(std::string_view id, absl::Time now) const;

 private:
  struct Lock {
    StoredSecret secret = {};
    size_t key = 0;
  };
  PolicyOptions options_ = {};
  std::vector<Key> keys_ = {};
  std::unordered_map<std::string, Lock> locks_ = {};  // by prefix
};

// A request as the guard sees it.
struct Attempt {
  std::string_view peer = {};  // address of the socket's other end
  std::vector<std::string_view> x_forwarded_for = {};
  std::vector<std::string_view> forwarded = {};
  std::string_view credential = {};  // the text of the key; "" = none was sent
  Scope scope = Scope::kAdmin;
  bool counts = true;  // false: a question beforehand, which uses nothing up
};

enum class DenialKind : uint8_t {
  kAddress,     // the global lists
  kNoKey,       // none was sent
  kWrongKey,    // unknown, expired or revoked: never said which
  kKeyAddress,  // not from one of the key's blocks
  kScope,
  kModel,
  kLimit
};
struct Denial {
  DenialKind kind = DenialKind::kAddress;
  std::string message = {};
  std::optional<Refusal> refusal = {};  // with kLimit
};

// Who is calling, for the log and the engine.
struct Caller {
  std::string client = {};  // address, behind trusted proxies
  std::string key_id = {};  // "" = nobody in particular
  std::string key_prefix = {};
  std::string tenant = {};
};

// A request that was let in. Holds the key's place in flight until it is destroyed. Thread-safe;
// stays valid when the policy is replaced.
class Pass {
 public:
  ~Pass();
  Pass(const Pass&) = delete;
  Pass& operator=(const Pass&) = delete;

  const Caller& caller() const { return caller_; }
  bool MayUse(std::string_view model) const;
  bool Has(Scope scope) const;
  // For the prompt, before the work; then for the answer, after it.
  std::optional<Denial> TakeTokens(int64_t tokens) const;
  void ChargeTokens(int64_t tokens) const;
  void ReturnTokens(int64_t tokens) const;  // what was taken for work that was not begun
  Rates rates() const;

 private:
  friend class Guard;
  Pass() = default;
  Caller caller_ = {};
  std::shared_ptr<const Policy> policy_ = {};
  const Policy::Key* key_ = nullptr;  // of policy_; null: nobody in particular
  std::shared_ptr<Limiter> limiter_ = {};
  std::function<absl::Time()> now_ = {};
  bool counted_ = false;
};

struct Admission {
  Caller caller = {};                     // as far as it is known
  std::shared_ptr<const Pass> pass = {};  // null: denied
  std::optional<Denial> denial = {};      // set if there is no pass
  std::optional<Rates> rates = {};        // of a known key
};

// Thread-safe.
class Guard {
 public:
  explicit Guard(
      std::shared_ptr<const Policy> policy,
      std::function<absl::Time()> now = [] { return absl::Now(); });

  Admission Admit(const Attempt& attempt) const;

  // For work that a key has left here and that is done later: its models and tokens count, its
  // addresses do not. Null if the key is not valid any more.
  std::shared_ptr<const Pass> PassOf(std::string_view key_id) const;

  void SetPolicy(std::shared_ptr<const Policy> policy);
  std::shared_ptr<const Policy> policy() const;
  Limiter& limiter() { return *limiter_; }
  absl::Time Now() const { return now_(); }

 private:
  std::optional<Denial> Judge(const Attempt& attempt, Pass* pass) const;

  const std::function<absl::Time()> now_;
  const std::shared_ptr<Limiter> limiter_;
  mutable absl::Mutex mutex_;
  std::shared_ptr<const Policy> policy_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace inhouse::guard
