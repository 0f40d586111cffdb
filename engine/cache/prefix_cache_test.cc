#include "engine/cache/prefix_cache.h"

#include <algorithm>
#include <map>
#include <random>
#include <string>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

using Tokens = std::vector<int32_t>;

// Pages of one token each, so that a prefix is a list of small numbers.
class PrefixCacheTest : public testing::Test {
 protected:
  static PrefixKey KeyOf(const Tokens& prefix) {
    PrefixKey key = RootKey("secret", {});
    for (const int32_t token : prefix) key = PageKey(key, std::span(&token, 1));
    return key;
  }
  static PrefixKey ParentOf(Tokens prefix) {
    prefix.pop_back();
    return KeyOf(prefix);
  }
  // The pages of the longest known beginning.
  std::vector<PageId> Take(const Tokens& tokens) {
    std::vector<PageId> pages;
    for (size_t n = 1; n <= tokens.size(); ++n) {
      const Tokens prefix(tokens.begin(), tokens.begin() + static_cast<std::ptrdiff_t>(n));
      const auto page =
          cache_.Acquire(KeyOf(prefix), ParentOf(prefix), std::span(&prefix[n - 1], 1));
      if (!page) break;
      pages.push_back(*page);
    }
    return pages;
  }
  // What a sequence does: takes what there is, computes the rest, publishes it.
  std::vector<PageId> Run(const Tokens& tokens) {
    std::vector<PageId> pages = Take(tokens);
    while (pages.size() < tokens.size()) {
      const auto page = cache_.Allocate();
      if (!page) break;
      const Tokens prefix(tokens.begin(),
                          tokens.begin() + static_cast<std::ptrdiff_t>(pages.size() + 1));
      pages.push_back(
          cache_.Publish(KeyOf(prefix), ParentOf(prefix), std::span(&prefix.back(), 1), *page));
    }
    return pages;
  }
  void Leave(std::vector<PageId> pages) {
    for (; !pages.empty(); pages.pop_back()) cache_.Release(pages.back());
  }

  PagePool pool_{64, 6};
  PrefixCache cache_{&pool_};
};

TEST_F(PrefixCacheTest, PagesOutliveTheirSequenceAndAreShared) {
  const auto first = Run({1, 2, 3});
  EXPECT_EQ(cache_.unheld(), 0);
  Leave(first);
  EXPECT_EQ(cache_.unheld(), 3);
  EXPECT_EQ(cache_.available(), 6);
  EXPECT_EQ(pool_.used(), 3);
  const auto again = Take({1, 2, 4});
  EXPECT_EQ(again, (std::vector<PageId>{first[0], first[1]}));
  EXPECT_EQ(cache_.unheld(), 1);
  EXPECT_TRUE(Take({2}).empty());  // the same page of tokens after another prefix
  Leave(again);
}

TEST_F(PrefixCacheTest, EvictsTheLeastRecentlyUsedLeavesFirst) {
  Leave(Run({1, 2, 3}));
  Leave(Run({1, 5}));
  std::vector<Tokens> evicted;
  cache_.on_evict = [&evicted](const PrefixNode& node) { evicted.push_back(node.tokens); };
  const auto other = Run({7, 8, 9, 10});
  ASSERT_EQ(other.size(), 4U);
  EXPECT_EQ(evicted, (std::vector<Tokens>{{3}, {2}}));
  Leave(Take({1}));
  EXPECT_EQ(Take({1, 5}).size(), 2U);
}

TEST_F(PrefixCacheTest, NeverEvictsWhatIsHeld) {
  const auto held = Run({1, 2, 3, 4, 5, 6});
  EXPECT_EQ(cache_.available(), 0);
  EXPECT_FALSE(cache_.Allocate().has_value());
  Leave(held);
  cache_.Clear();
  EXPECT_EQ(pool_.used(), 0);
  EXPECT_EQ(cache_.nodes(), 0);
}

TEST_F(PrefixCacheTest, TheSamePrefixComputedTwiceBecomesOnePage) {
  const int32_t token = 4;
  const PageId a = *cache_.Allocate();
  const PageId b = *cache_.Allocate();
  const PrefixKey key = KeyOf({4});
  const PrefixKey root = KeyOf({});
  EXPECT_EQ(cache_.Publish(key, root, std::span(&token, 1), a), a);
  EXPECT_EQ(cache_.Publish(key, root, std::span(&token, 1), b), a);
  EXPECT_EQ(pool_.used(), 1);
  Leave({a});
  Leave({a});
  EXPECT_EQ(cache_.unheld(), 1);
}

TEST_F(PrefixCacheTest, ScopesShareNothing) {
  const PrefixScope scope{.tenant = "a", .salt = "b", .identity = "c"};
  const PrefixKey key = RootKey("secret", scope);
  EXPECT_EQ(key, RootKey("secret", scope));
  EXPECT_NE(key, RootKey("another", scope));
  EXPECT_NE(key, RootKey("secret", {.tenant = "a", .salt = "b"}));
  EXPECT_NE(key, RootKey("secret", {.tenant = "a", .identity = "c"}));
  EXPECT_NE(key, RootKey("secret", {.salt = "b", .identity = "c"}));
  // Where one part ends and the next begins counts.
  EXPECT_NE(RootKey("s", {.tenant = "ab"}), RootKey("s", {.tenant = "a", .salt = "b"}));
  EXPECT_NE(RootKey("s", {.tenant = "ab", .salt = "c"}),
            RootKey("s", {.tenant = "a", .salt = "bc"}));
}

// Random sequences come and go; a model of who holds what is the judge.
TEST_F(PrefixCacheTest, RandomSequencesNeverLoseAPage) {
  std::mt19937 random(7);
  std::vector<std::vector<PageId>> running;
  for (int step = 0; step < 3000; ++step) {
    if (random() % 2 == 0 || running.empty()) {
      Tokens tokens;
      for (size_t n = 1 + random() % 4; n > 0; --n) {
        tokens.push_back(static_cast<int32_t>(random() % 2));
      }
      running.push_back(Run(tokens));
    } else {
      const size_t index = random() % running.size();
      Leave(running[index]);
      running.erase(running.begin() + static_cast<std::ptrdiff_t>(index));
    }
    std::map<PageId, int32_t> holders;
    for (const auto& pages : running) {
      for (const PageId page : pages) ++holders[page];
    }
    for (const auto& [page, count] : holders) ASSERT_EQ(pool_.holders(page), count + 1);
    ASSERT_EQ(cache_.available(), pool_.total() - static_cast<int64_t>(holders.size()));
  }
  for (const auto& pages : running) Leave(pages);
  cache_.Clear();
  EXPECT_EQ(pool_.used(), 0);
}

}  // namespace
}  // namespace inhouse::engine
