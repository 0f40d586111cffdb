#include "engine/ops/rope.h"

#include <cmath>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

// Values of transformers 5 (modeling_rope_utils), in float64.
TEST(RopeTest, PlainAndLinear) {
  const auto plain = RopeFrequencies({.theta = 10000, .dim = 8});
  EXPECT_DOUBLE_EQ(plain[0], 1.0);
  EXPECT_NEAR(plain[1], 0.1, 1e-15);
  EXPECT_NEAR(plain[3], 0.001, 1e-15);
  const auto linear =
      RopeFrequencies({.theta = 10000, .dim = 8, .scaling = RopeScaling::kLinear, .factor = 4});
  EXPECT_NEAR(linear[1], 0.025, 1e-15);
}

// DeepSeek-V3's table: dimensions below 10 keep their frequency, from 23 on they are divided by 40
// (section 2.0 of the notes).
TEST(RopeTest, YarnRampsBetweenTheCorrectionDimensions) {
  const RopeConfig config{.theta = 10000,
                          .dim = 64,
                          .scaling = RopeScaling::kYarn,
                          .factor = 40,
                          .original_context = 4096};
  const auto yarn = RopeFrequencies(config);
  const auto plain = RopeFrequencies({.theta = 10000, .dim = 64});
  EXPECT_DOUBLE_EQ(yarn[10], plain[10]);
  EXPECT_LT(yarn[11], plain[11]);
  EXPECT_NEAR(yarn[23], plain[23] / 40, 1e-15);
  EXPECT_GT(yarn[22], plain[22] / 40);
}

TEST(RopeTest, Llama3KeepsShortAndStretchesLongWavelengths) {
  const RopeConfig config{.theta = 500000,
                          .dim = 128,
                          .scaling = RopeScaling::kLlama3,
                          .factor = 8,
                          .original_context = 8192,
                          .low_freq_factor = 1,
                          .high_freq_factor = 4};
  const auto scaled = RopeFrequencies(config);
  const auto plain = RopeFrequencies({.theta = 500000, .dim = 128});
  EXPECT_DOUBLE_EQ(scaled[0], plain[0]);
  EXPECT_DOUBLE_EQ(scaled[63], plain[63] / 8);
}

TEST(RopeTest, DivisorsDivide) {
  const auto divided = RopeFrequencies({.theta = 10000, .dim = 4, .frequency_divisors = {1, 8}});
  EXPECT_NEAR(divided[1], 0.01 / 8, 1e-15);
}

TEST(RopeTest, TableHoldsCosinesThenSines) {
  RopeTable table({.theta = 10000, .dim = 4, .attention_factor = 2}, 2);
  base::ThreadTeam team(2);
  const std::vector<int64_t> positions = {0, 3};
  team.Run([&](const base::TeamMember& member) { table.Fill(member, positions); });
  EXPECT_FLOAT_EQ(table.row(0)[0], 2);
  EXPECT_FLOAT_EQ(table.row(0)[2], 0);
  EXPECT_FLOAT_EQ(table.row(1)[0], 2 * std::cos(3.0F));
  EXPECT_FLOAT_EQ(table.row(1)[3], 2 * std::sin(0.03F));
}

}  // namespace
}  // namespace inhouse::engine
