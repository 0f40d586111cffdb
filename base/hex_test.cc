#include "base/hex.h"

#include "gtest/gtest.h"

namespace inhouse::base {
namespace {

TEST(HexTest, KnowsItsDigits) {
  EXPECT_TRUE(IsLowerHex(""));
  EXPECT_TRUE(IsLowerHex("0123456789abcdef"));
  for (const char* other : {"A", "F", "g", "/", ":", "`", "0x1", "1 ", "\xc3\xa9"}) {
    EXPECT_FALSE(IsLowerHex(other)) << other;
  }
}

}  // namespace
}  // namespace inhouse::base
