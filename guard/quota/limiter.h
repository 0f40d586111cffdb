// How much each key has used: a leaky bucket for the minute, counters for the day (UTC), requests
// in flight.
#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "guard/keys/key_record.h"

namespace inhouse::guard {

enum class Limit : uint8_t {
  kRequestsPerMinute,
  kRequestsPerDay,
  kTokensPerMinute,
  kTokensPerDay,
  kConcurrent
};

struct Refusal {
  Limit limit = Limit::kRequestsPerMinute;
  int64_t most = 0;  // the limit itself
  // Until the same request would be let in, if nothing else happens; infinite if never.
  absl::Duration wait = absl::ZeroDuration();
};

// One limit as clients are told: x-ratelimit-*.
struct Room {
  int64_t limit = 0;
  int64_t remaining = 0;
  absl::Duration reset = absl::ZeroDuration();  // until all of it is free again
};
struct Rates {
  std::optional<Room> requests = {};  // of the minute, or of the day if that is nearer
  std::optional<Room> tokens = {};
};

struct DayUsage {
  int64_t requests = 0;
  int64_t tokens = 0;
};
// What survives a restart.
struct UsageSnapshot {
  int64_t day = 0;  // since 1970, UTC
  std::map<std::string, DayUsage, std::less<>> keys = {};
};

// Thread-safe. Keys are known by their id; a key that is asked for the first time has used nothing.
class Limiter {
 public:
  // Counts a request and takes a place in flight, or says which limit is reached and counts
  // nothing.
  std::optional<Refusal> Begin(std::string_view key, const Quota& quota, absl::Time now);
  void End(std::string_view key);  // gives the place back

  // Takes the tokens of a prompt if they fit in what is left.
  std::optional<Refusal> TakeTokens(std::string_view key, const Quota& quota, int64_t tokens,
                                    absl::Time now);
  // Counts tokens of an answer: these are known only when they were made, so that a key may come
  // to owe some, which later requests wait for.
  void ChargeTokens(std::string_view key, const Quota& quota, int64_t tokens, absl::Time now);
  // Gives back what TakeTokens took, for work that was not begun.
  void ReturnTokens(std::string_view key, const Quota& quota, int64_t tokens, absl::Time now);

  Rates RatesOf(std::string_view key, const Quota& quota, absl::Time now) const;

  UsageSnapshot Snapshot(absl::Time now) const;
  void Restore(const UsageSnapshot& usage);  // of another day: forgotten
  uint64_t changes() const;  // grows with each request and token: whether a snapshot is worth it

 private:
  // What was taken and has not leaked out yet.
  struct Bucket {
    double used = 0;
    absl::Time at = absl::InfinitePast();
    double UsedAt(int64_t per_minute, absl::Time now) const;
    void Add(int64_t per_minute, double amount, absl::Time now);
  };
  struct State {
    Bucket requests = {};
    Bucket tokens = {};
    int64_t day = 0;
    DayUsage today = {};
    int64_t in_flight = 0;
  };
  State& Find(std::string_view key, absl::Time now) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  mutable absl::Mutex mutex_;
  std::map<std::string, State, std::less<>> states_ ABSL_GUARDED_BY(mutex_);
  uint64_t changes_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace inhouse::guard
