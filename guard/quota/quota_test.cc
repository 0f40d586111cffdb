#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <string>

#include "base/file.h"
#include "base/status.h"
#include "guard/quota/limiter.h"
#include "guard/quota/usage_file.h"

namespace inhouse::guard {
namespace {

// 08:00 UTC
const absl::Time kMorning = absl::FromUnixSeconds(1'790'000'000 / 86400 * 86400 + 8 * 3600);

std::string TempPath(const std::string& name) {
  const std::filesystem::path directory =
      std::filesystem::path(testing::TempDir()) / ("guard_quota_" + std::to_string(getpid()));
  std::filesystem::create_directories(directory);
  return (directory / name).string();
}

TEST(Limiter, RequestsPerMinuteLeakEvenly) {
  Limiter limiter;
  const Quota quota{.requests_per_minute = 6};
  for (int i = 0; i < 6; ++i) EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  const auto refused = limiter.Begin("k", quota, kMorning);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->limit, Limit::kRequestsPerMinute);
  EXPECT_NEAR(absl::ToDoubleSeconds(refused->wait), 10, 1e-6);
  EXPECT_TRUE(limiter.Begin("k", quota, kMorning + absl::Seconds(9.9)));
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning + absl::Seconds(10)));
  EXPECT_TRUE(limiter.Begin("k", quota, kMorning + absl::Seconds(10)));
  EXPECT_FALSE(limiter.Begin("other", quota, kMorning)) << "keys do not share";
}

// In no window of a minute are there more than twice the limit, and over a long time no more than
// the rate: what a leaky bucket promises.
TEST(Limiter, NeverMoreThanTheRate) {
  std::mt19937 random(3);
  for (const int limit : {1, 7, 60}) {
    Limiter limiter;
    const Quota quota{.requests_per_minute = limit};
    absl::Time now = kMorning;
    int granted = 0;
    for (int i = 0; i < 5000; ++i) {
      now += absl::Milliseconds(random() % 1000);
      if (!limiter.Begin("k", quota, now)) ++granted;
    }
    const double minutes = absl::ToDoubleMinutes(now - kMorning);
    EXPECT_LE(granted, limit * (minutes + 1) + 1);
    EXPECT_GE(granted, limit * minutes * 0.95 - 1);
  }
}

TEST(Limiter, WaitIsHonest) {
  Limiter limiter;
  const Quota quota{.requests_per_minute = 7, .tokens_per_minute = 1000};
  absl::Time now = kMorning;
  std::mt19937 random(5);
  for (int i = 0; i < 500; ++i) {
    now += absl::Milliseconds(random() % 3000);
    const int64_t tokens = 1 + static_cast<int64_t>(random() % 400);
    if (const auto refused = limiter.TakeTokens("k", quota, tokens, now)) {
      EXPECT_TRUE(limiter.TakeTokens("k", quota, tokens, now + refused->wait * 0.99));
      now += refused->wait;
      EXPECT_FALSE(limiter.TakeTokens("k", quota, tokens, now));
    }
    if (const auto refused = limiter.Begin("k", quota, now)) {
      now += refused->wait;
      EXPECT_FALSE(limiter.Begin("k", quota, now));
    }
  }
}

TEST(Limiter, ARefusalCountsNothing) {
  Limiter limiter;
  const Quota quota{.requests_per_minute = 1, .requests_per_day = 2, .concurrent = 1};
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  for (int i = 0; i < 50; ++i) EXPECT_TRUE(limiter.Begin("k", quota, kMorning));
  limiter.End("k");
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning + absl::Minutes(1)));
  limiter.End("k");
  const auto refused = limiter.Begin("k", quota, kMorning + absl::Minutes(5));
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->limit, Limit::kRequestsPerDay);
  EXPECT_EQ(refused->wait, absl::Hours(16) - absl::Minutes(5)) << "until midnight UTC";
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning + absl::Hours(16)));
}

TEST(Limiter, ConcurrentRequests) {
  Limiter limiter;
  const Quota quota{.concurrent = 2};
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  const auto refused = limiter.Begin("k", quota, kMorning);
  ASSERT_TRUE(refused.has_value());
  EXPECT_EQ(refused->limit, Limit::kConcurrent);
  limiter.End("k");
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  limiter.End("nobody");
}

TEST(Limiter, AnswersMayOweTokens) {
  Limiter limiter;
  const Quota quota{.tokens_per_minute = 100};
  EXPECT_FALSE(limiter.TakeTokens("k", quota, 60, kMorning));
  limiter.ChargeTokens("k", quota, 240, kMorning);  // 200 over
  const auto refused = limiter.TakeTokens("k", quota, 10, kMorning);
  ASSERT_TRUE(refused.has_value());
  EXPECT_NEAR(absl::ToDoubleSeconds(refused->wait), 210 * 0.6, 1e-6);
  EXPECT_EQ(limiter.RatesOf("k", quota, kMorning).tokens->remaining, 0);
  const auto never = limiter.TakeTokens("k", quota, 101, kMorning + absl::Hours(1));
  ASSERT_TRUE(never.has_value());
  EXPECT_EQ(never->wait, absl::InfiniteDuration());
}

TEST(Limiter, TokensOfWorkThatWasNotBegunAreGivenBack) {
  Limiter limiter;
  const Quota quota{.tokens_per_minute = 100, .tokens_per_day = 150};
  EXPECT_FALSE(limiter.TakeTokens("k", quota, 80, kMorning));
  EXPECT_TRUE(limiter.TakeTokens("k", quota, 80, kMorning));
  limiter.ReturnTokens("k", quota, 80, kMorning);
  EXPECT_FALSE(limiter.TakeTokens("k", quota, 80, kMorning));
  limiter.ReturnTokens("k", quota, 1000, kMorning);
  EXPECT_EQ(limiter.RatesOf("k", quota, kMorning).tokens->remaining, 100) << "not more than all";
}

TEST(Limiter, RatesShowTheNearerLimit) {
  Limiter limiter;
  const Quota quota{.requests_per_minute = 10, .requests_per_day = 12};
  EXPECT_FALSE(limiter.RatesOf("k", quota, kMorning).tokens.has_value());
  EXPECT_EQ(limiter.RatesOf("k", quota, kMorning).requests->remaining, 10);
  for (int i = 0; i < 10; ++i) EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  EXPECT_EQ(limiter.RatesOf("k", quota, kMorning).requests->remaining, 0);
  EXPECT_EQ(limiter.RatesOf("k", quota, kMorning).requests->limit, 10);
  const Rates later = limiter.RatesOf("k", quota, kMorning + absl::Minutes(1));
  EXPECT_EQ(later.requests->remaining, 2);
  EXPECT_EQ(later.requests->limit, 12);
}

TEST(Limiter, AClockThatGoesBackGivesNothing) {
  Limiter limiter;
  const Quota quota{.requests_per_minute = 1, .requests_per_day = 1};
  EXPECT_FALSE(limiter.Begin("k", quota, kMorning));
  EXPECT_TRUE(limiter.Begin("k", quota, kMorning - absl::Hours(48)));
}

TEST(UsageFile, SurvivesARestart) {
  const std::string path = TempPath("usage.toml");
  const Quota quota{.requests_per_day = 3, .tokens_per_day = 100};
  {
    auto file = UsageFile::Open(path);
    ASSERT_TRUE(file.ok()) << file.status();
    EXPECT_TRUE((*file)->Load()->keys.empty());
    EXPECT_TRUE(absl::IsUnavailable(UsageFile::Open(path).status())) << "one writer at a time";
    Limiter limiter;
    EXPECT_FALSE(limiter.Begin("k\"1", quota, kMorning));
    EXPECT_FALSE(limiter.Begin("k\"1", quota, kMorning));
    limiter.ChargeTokens("k\"1", quota, 90, kMorning);
    EXPECT_TRUE((*file)->Save(limiter.Snapshot(kMorning)).ok());
  }
  auto file = UsageFile::Open(path);
  ASSERT_TRUE(file.ok()) << file.status();
  const auto usage = (*file)->Load();
  ASSERT_TRUE(usage.ok()) << usage.status();
  Limiter limiter;
  limiter.Restore(*usage);
  EXPECT_FALSE(limiter.Begin("k\"1", quota, kMorning));
  EXPECT_TRUE(limiter.Begin("k\"1", quota, kMorning));
  EXPECT_TRUE(limiter.TakeTokens("k\"1", quota, 11, kMorning));
  EXPECT_FALSE(limiter.TakeTokens("k\"1", quota, 10, kMorning));
  EXPECT_FALSE(limiter.Begin("k\"1", quota, kMorning + absl::Hours(24))) << "a new day";
  EXPECT_TRUE(limiter.Snapshot(kMorning + absl::Hours(72)).keys.empty());
}

TEST(UsageFile, ADamagedFileIsAnError) {
  const std::string path = TempPath("damaged.toml");
  ASSERT_TRUE(base::ReplaceFile(path, "day = 3\n[[usage]]\nkey = 'a'\nrequests = -1\n").ok());
  const auto file = UsageFile::Open(path);
  const auto usage = (*file)->Load();
  EXPECT_NE(base::Message(usage.status()).find(":4: usage[0].requests"), std::string::npos)
      << usage.status();
}

}  // namespace
}  // namespace inhouse::guard
