#include "guard/quota/limiter.h"

#include <algorithm>
#include <cmath>

namespace inhouse::guard {
namespace {

constexpr double kMinute = 60;

int64_t DayOf(absl::Time time) { return absl::ToInt64Hours(time - absl::UnixEpoch()) / 24; }

absl::Duration UntilNextDay(absl::Time now) {
  return absl::UnixEpoch() + absl::Hours(24 * (DayOf(now) + 1)) - now;
}

// Until `excess` has leaked out of a bucket.
absl::Duration LeakTime(double excess, int64_t per_minute) {
  return absl::Seconds(std::max(excess, 0.0) * kMinute / static_cast<double>(per_minute));
}

// The nearer of the two limits.
std::optional<Room> RoomOf(double used_minute, int64_t per_minute, int64_t used_day,
                           int64_t per_day, absl::Time now) {
  std::optional<Room> room;
  if (per_minute > 0) {
    const auto left = static_cast<int64_t>(static_cast<double>(per_minute) - used_minute + 1e-9);
    room = Room{per_minute, std::max<int64_t>(left, 0), LeakTime(used_minute, per_minute)};
  }
  if (per_day > 0) {
    const int64_t left = std::max<int64_t>(per_day - used_day, 0);
    if (!room || left < room->remaining) room = Room{per_day, left, UntilNextDay(now)};
  }
  return room;
}

}  // namespace

double Limiter::Bucket::UsedAt(int64_t per_minute, absl::Time now) const {
  if (used <= 0) return 0;
  // A clock that was set back must not fill the bucket.
  const double seconds = std::max(absl::ToDoubleSeconds(now - at), 0.0);
  return std::max(used - seconds * static_cast<double>(per_minute) / kMinute, 0.0);
}

void Limiter::Bucket::Add(int64_t per_minute, double amount, absl::Time now) {
  used = UsedAt(per_minute, now) + amount;
  at = now;
}

Limiter::State& Limiter::Find(std::string_view key, absl::Time now) {
  auto found = states_.find(key);
  if (found == states_.end()) found = states_.emplace(std::string(key), State()).first;
  State& state = found->second;
  if (const int64_t day = DayOf(now); day > state.day) {
    state.day = day;
    state.today = {};
  }
  return state;
}

std::optional<Refusal> Limiter::Begin(std::string_view key, const Quota& quota, absl::Time now) {
  absl::MutexLock lock(&mutex_);
  State& state = Find(key, now);
  if (quota.concurrent > 0 && state.in_flight >= quota.concurrent) {
    return Refusal{Limit::kConcurrent, quota.concurrent, absl::Seconds(1)};
  }
  if (quota.requests_per_day > 0 && state.today.requests >= quota.requests_per_day) {
    return Refusal{Limit::kRequestsPerDay, quota.requests_per_day, UntilNextDay(now)};
  }
  if (quota.requests_per_minute > 0) {
    const auto most = static_cast<double>(quota.requests_per_minute);
    const double used = state.requests.UsedAt(quota.requests_per_minute, now);
    if (used + 1 > most + 1e-9) {
      return Refusal{Limit::kRequestsPerMinute, quota.requests_per_minute,
                     LeakTime(used + 1 - most, quota.requests_per_minute)};
    }
    state.requests.Add(quota.requests_per_minute, 1, now);
  }
  ++state.today.requests;
  ++state.in_flight;
  ++changes_;
  return std::nullopt;
}

void Limiter::End(std::string_view key) {
  absl::MutexLock lock(&mutex_);
  const auto found = states_.find(key);
  if (found != states_.end() && found->second.in_flight > 0) --found->second.in_flight;
}

std::optional<Refusal> Limiter::TakeTokens(std::string_view key, const Quota& quota, int64_t tokens,
                                           absl::Time now) {
  absl::MutexLock lock(&mutex_);
  State& state = Find(key, now);
  if (quota.tokens_per_day > 0 && state.today.tokens + tokens > quota.tokens_per_day) {
    const bool never = tokens > quota.tokens_per_day;
    return Refusal{Limit::kTokensPerDay, quota.tokens_per_day,
                   never ? absl::InfiniteDuration() : UntilNextDay(now)};
  }
  if (quota.tokens_per_minute > 0) {
    const double most = static_cast<double>(quota.tokens_per_minute);
    const double used = state.tokens.UsedAt(quota.tokens_per_minute, now);
    const double wanted = used + static_cast<double>(tokens);
    if (wanted > most + 1e-9) {
      const bool never = tokens > quota.tokens_per_minute;
      return Refusal{
          Limit::kTokensPerMinute, quota.tokens_per_minute,
          never ? absl::InfiniteDuration() : LeakTime(wanted - most, quota.tokens_per_minute)};
    }
    state.tokens.Add(quota.tokens_per_minute, static_cast<double>(tokens), now);
  }
  state.today.tokens += tokens;
  ++changes_;
  return std::nullopt;
}

void Limiter::ChargeTokens(std::string_view key, const Quota& quota, int64_t tokens,
                           absl::Time now) {
  if (tokens <= 0) return;
  absl::MutexLock lock(&mutex_);
  State& state = Find(key, now);
  if (quota.tokens_per_minute > 0) {
    state.tokens.Add(quota.tokens_per_minute, static_cast<double>(tokens), now);
  }
  state.today.tokens += tokens;
  ++changes_;
}

void Limiter::ReturnTokens(std::string_view key, const Quota& quota, int64_t tokens,
                           absl::Time now) {
  absl::MutexLock lock(&mutex_);
  State& state = Find(key, now);
  state.tokens.Add(quota.tokens_per_minute, -static_cast<double>(tokens), now);
  state.tokens.used = std::max(state.tokens.used, 0.0);
  state.today.tokens = std::max<int64_t>(state.today.tokens - tokens, 0);
  ++changes_;
}

Rates Limiter::RatesOf(std::string_view key, const Quota& quota, absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  const auto found = states_.find(key);
  const State state = found == states_.end() ? State() : found->second;
  const DayUsage today = state.day == DayOf(now) ? state.today : DayUsage();
  return {
      .requests = RoomOf(state.requests.UsedAt(quota.requests_per_minute, now),
                         quota.requests_per_minute, today.requests, quota.requests_per_day, now),
      .tokens = RoomOf(state.tokens.UsedAt(quota.tokens_per_minute, now), quota.tokens_per_minute,
                       today.tokens, quota.tokens_per_day, now)};
}

UsageSnapshot Limiter::Snapshot(absl::Time now) const {
  absl::MutexLock lock(&mutex_);
  UsageSnapshot usage{.day = DayOf(now)};
  for (const auto& [key, state] : states_) {
    if (state.day == usage.day) usage.keys.emplace(key, state.today);
  }
  return usage;
}

void Limiter::Restore(const UsageSnapshot& usage) {
  absl::MutexLock lock(&mutex_);
  for (const auto& [key, today] : usage.keys) {
    State& state = states_[key];
    state.day = usage.day;
    state.today = today;
  }
}

uint64_t Limiter::changes() const {
  absl::MutexLock lock(&mutex_);
  return changes_;
}

}  // namespace inhouse::guard
