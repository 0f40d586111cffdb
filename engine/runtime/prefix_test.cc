// Shared prefixes, seen through the engine's front door.
#include <memory>
#include <utility>
#include <vector>

#include "absl/synchronization/notification.h"
#include "engine/engine.h"
#include "engine/runtime/test_engine.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::vector<TokenId> Joined(std::vector<TokenId> a, const std::vector<TokenId>& b) {
  a.insert(a.end(), b.begin(), b.end());
  return a;
}

// Decision 0003, seen from outside: the same bits without a cache, with a miss, with a hit, in a
// crowd of 32 that shares the prefix, and after preemptions.
TEST(PrefixTest, PrefixesDoNotChangeAnswers) {
  const std::vector<TokenId> prefix = Prompt(150, 5);
  const auto request = [&prefix](int i) {
    return Scored(Joined(prefix, Prompt(3 + i, 100 + i)), 40);
  };
  const auto plain = LoadOrDie({.threads = 1, .prefix_cache = false});
  std::vector<Answer> expected;
  for (int i = 0; i < 32; ++i) expected.push_back(Ask(*plain, request(i)));
  EXPECT_EQ(expected[1].cached, 0);
  EXPECT_EQ(plain->stats().prefix_queries, 0);

  const int64_t page = plain->info().bytes.kv_per_token * 64;
  for (const int64_t pages : {200, 9}) {
    const auto engine = LoadOrDie(
        {.threads = 2, .kv_bytes = pages * page, .max_sequences = 32, .prefill_chunk = 48});
    const Answer miss = Ask(*engine, request(0));
    EXPECT_EQ(miss.cached, 0);
    EXPECT_TRUE(SameBits(miss, expected[0]));
    const Answer hit = Ask(*engine, request(1));
    EXPECT_EQ(hit.cached, 128);  // two whole pages of the prefix
    EXPECT_TRUE(SameBits(hit, expected[1]));
    const Answer same = Ask(*engine, request(0));
    EXPECT_TRUE(SameBits(same, expected[0]));
    std::vector<Collector> crowd(32);
    std::vector<std::unique_ptr<Session>> sessions;
    absl::Notification all_submitted;
    for (int i = 0; i < 32; ++i) {
      auto one = engine->Submit(
          request(i),
          [&all_submitted, collect = crowd[static_cast<size_t>(i)].callback()](TokenEvent event) {
            all_submitted.WaitForNotification();
            collect(std::move(event));
          });
      ASSERT_TRUE(one.ok()) << one.status();
      sessions.push_back(*std::move(one));
    }
    all_submitted.Notify();
    for (size_t i = 0; i < 32; ++i) {
      const TokenEvent last = crowd[i].Wait();
      const Answer answer{crowd[i].ids(), crowd[i].logprobs(), last.usage.cached_tokens};
      EXPECT_TRUE(SameBits(answer, expected[i])) << i << " with " << pages << " pages";
    }
    engine->Drain(60);
    EXPECT_EQ(engine->stats().kv_pages_used, 0);
    EXPECT_EQ(engine->stats().preemptions > 0, pages == 9);
    EXPECT_GT(engine->stats().prefix_hits, 0);
  }
}

// An answer is a prefix, too: the next turn of a conversation computes only what is new.
TEST(PrefixTest, AnswersBecomePrefixes) {
  const auto engine = LoadOrDie({.threads = 1});
  const std::vector<TokenId> prompt = Prompt(70, 1);
  const Answer first = Ask(*engine, Sampled(prompt, 70));
  const auto next = Joined(Joined(prompt, first.ids), Prompt(9, 2));
  EXPECT_EQ(Ask(*engine, Sampled(next, 2)).cached, 128);
  // A prompt whose every page is known: its last token is computed all the same.
  const std::vector<TokenId> whole(next.begin(), next.begin() + 128);
  EXPECT_EQ(Ask(*engine, Sampled(whole, 2)).cached, 64);
}

TEST(PrefixTest, PrefixesStayWithinTheirScope) {
  const auto engine = LoadOrDie({.threads = 1});
  GenerateRequest request = Sampled(Prompt(100, 1), 1);
  request.tenant = "clinic";
  EXPECT_EQ(Ask(*engine, request).cached, 0);
  EXPECT_EQ(Ask(*engine, request).cached, 64);
  GenerateRequest other = request;
  other.tenant = "bank";
  EXPECT_EQ(Ask(*engine, other).cached, 0);
  other = request;
  other.cache_salt = "clinic";
  EXPECT_EQ(Ask(*engine, other).cached, 0);
  // A salt cannot lead into another tenant's prefixes.
  other = request;
  other.tenant = "";
  other.cache_salt = "clinic";
  EXPECT_EQ(Ask(*engine, other).cached, 0);
  // Scores of the whole prompt need the whole prompt; a filling is nobody's prefix.
  other = request;
  other.logprobs = 0;
  other.prompt_logprobs = true;
  EXPECT_EQ(Ask(*engine, other).cached, 0);
  other = Sampled(Prompt(100, 9), 1);
  other.assume_cached = 80;
  Ask(*engine, other);
  other.assume_cached = 0;
  EXPECT_EQ(Ask(*engine, other).cached, 0);
}

}  // namespace
}  // namespace inhouse::engine
