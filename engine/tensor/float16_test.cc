#include "engine/tensor/float16.h"

#include <cmath>
#include <cstdint>
#include <limits>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

TEST(Float16Test, EveryPatternRoundTrips) {
  for (uint32_t bits = 0; bits <= 0xFFFF; ++bits) {
    const auto half = static_cast<uint16_t>(bits);
    const float f16 = FromF16(half);
    if (!std::isnan(f16)) {
      ASSERT_EQ(ToF16(f16), half) << bits;
    }
    const float bf16 = FromBF16(half);
    if (!std::isnan(bf16)) {
      ASSERT_EQ(ToBF16(bf16), half) << bits;
    }
  }
}

TEST(Float16Test, KnownValues) {
  EXPECT_EQ(FromF16(0x3C00), 1.0F);
  EXPECT_EQ(FromF16(0x0001), 0x1p-24F);
  EXPECT_EQ(FromF16(0xFBFF), -65504.0F);
  EXPECT_EQ(ToF16(65520.0F), 0x7C00);
  EXPECT_EQ(ToF16(65519.0F), 0x7BFF);
  EXPECT_TRUE(std::isnan(FromF16(ToF16(std::numeric_limits<float>::quiet_NaN()))));
  EXPECT_TRUE(std::isnan(FromBF16(ToBF16(std::numeric_limits<float>::quiet_NaN()))));
}

TEST(Float16Test, RoundsTiesToEven) {
  EXPECT_EQ(ToF16(1.0F + 0x1p-11F), 0x3C00);      // halfway, even below
  EXPECT_EQ(ToF16(1.0F + 3 * 0x1p-11F), 0x3C02);  // halfway, even above
  EXPECT_EQ(ToF16(1.5F * 0x1p-24F), 0x0002);      // subnormal tie
  EXPECT_EQ(ToBF16(1.0F + 0x1p-8F), 0x3F80);
  EXPECT_EQ(ToBF16(1.0F + 3 * 0x1p-8F), 0x3F82);
}

}  // namespace
}  // namespace inhouse::engine
