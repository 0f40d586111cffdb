#include "engine/tensor/arena.h"

#include <cstring>
#include <utility>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(ArenaTest, IsAlignedZeroedAndMovable) {
  Arena arena(3U << 20);
  ASSERT_NE(arena.data(), nullptr);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(arena.data()) % (2U << 20), 0U);
  EXPECT_GE(arena.size(), 3U << 20);
  EXPECT_EQ(arena.data()[arena.size() - 1], std::byte{0});
  std::memset(arena.data(), 7, arena.size());
  Arena other = std::move(arena);
  EXPECT_EQ(other.data()[0], std::byte{7});
  EXPECT_EQ(arena.data(), nullptr);  // NOLINT: a moved-from arena is empty by contract
}

TEST(ArenaTest, EmptyHasNoMemory) {
  const Arena arena(0);
  EXPECT_EQ(arena.data(), nullptr);
  EXPECT_EQ(arena.size(), 0U);
}

}  // namespace
}  // namespace inhouse::engine
