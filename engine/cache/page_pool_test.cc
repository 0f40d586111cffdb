#include "engine/cache/page_pool.h"

#include <cstring>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(PagePoolTest, HandsOutEachPageOnceUntilNoneIsLeft) {
  PagePool pool(100, 3);
  EXPECT_EQ(pool.page_bytes(), 128);
  const auto a = pool.Allocate();
  const auto b = pool.Allocate();
  const auto c = pool.Allocate();
  ASSERT_TRUE(a && b && c);
  EXPECT_NE(*a, *b);
  EXPECT_NE(*b, *c);
  EXPECT_FALSE(pool.Allocate().has_value());
  EXPECT_EQ(pool.used(), 3);
  std::memset(pool.data(*b), 1, 128);
  EXPECT_EQ(pool.data(*a)[127], std::byte{0});
  EXPECT_EQ(pool.data(*c)[0], std::byte{0});
  pool.Release(*b);
  EXPECT_EQ(pool.Allocate(), b);
}

TEST(PagePoolTest, SharedPagesStayUntilTheLastHolderLeaves) {
  PagePool pool(64, 1);
  const auto page = pool.Allocate();
  ASSERT_TRUE(page);
  pool.Retain(*page);
  pool.Release(*page);
  EXPECT_EQ(pool.free(), 0);
  pool.Release(*page);
  EXPECT_EQ(pool.free(), 1);
}

TEST(PagePoolDeathTest, RefusesDoubleRelease) {
  PagePool pool(64, 1);
  const auto page = pool.Allocate();
  pool.Release(*page);
  EXPECT_DEATH(pool.Release(*page), "once per holder");
}

}  // namespace
}  // namespace inhouse::engine
