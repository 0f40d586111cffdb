#include "engine/ops/low_rank.h"

#include <algorithm>
#include <cmath>
#include <memory>
#include <numeric>
#include <random>
#include <utility>
#include <vector>

#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kIn = 70;
constexpr int64_t kOut = 150;   // of the product; its last outputs belong to no part
constexpr int64_t kRows = 141;  // more than two blocks of strips at every level

std::vector<float> Random(int64_t n, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  std::vector<float> values(static_cast<size_t>(n));
  for (float& v : values) v = FromF16(ToF16(normal(random)));  // either type holds them
  return values;
}

std::vector<LowRankPart> Parts(unsigned seed, std::vector<int64_t> ranks) {
  const std::pair<int64_t, int64_t> places[] = {{0, 37}, {37, 64}, {101, 9}};
  std::vector<LowRankPart> parts;
  for (size_t i = 0; i < ranks.size(); ++i) {
    const auto [begin, rows] = places[i];
    LowRankPart part{.out_begin = begin, .out_rows = rows, .rank = ranks[i]};
    part.a = Random(part.rank * kIn, seed++);
    part.b = Random(rows * part.rank, seed++);
    if (i != 1) part.shift = Random(rows, seed++);
    parts.push_back(std::move(part));
  }
  return parts;
}

// An update with its memory.
struct Packed {
  Packed(const KernelTable& kernels, DType stored, const std::vector<LowRankPart>& parts_in)
      : parts(parts_in),
        update(kernels, stored, kIn, parts),
        memory(static_cast<size_t>(update.packed_bytes())) {
    update.Pack(parts, memory.data());
  }
  std::vector<LowRankPart> parts;
  LowRank update;
  Arena memory;
};

// y + the updates of the groups, on a team.
std::vector<float> Update(const KernelTable& kernels, int threads, std::vector<LowRankRows> groups,
                          const std::vector<float>& x, std::vector<float> y) {
  const LowRankLimits limits{.rows = kRows, .groups = kRows, .rank = 40, .parts = 3};
  base::ThreadTeam team(threads);
  OpScratch scratch(threads, LowRankPackedBytes(kernels, limits, kIn),
                    LowRankMemberBytes(kernels, limits, kIn));
  SingleProcess comm;
  team.Run([&](const base::TeamMember& member) {
    OpContext context{member, kernels, scratch, comm};
    AddLowRank(context, groups, x.data(), kIn, y.data(), kOut);
  });
  return y;
}

double Expected(const std::vector<LowRankPart>& parts, const float* x, int64_t out) {
  for (const LowRankPart& part : parts) {
    if (out < part.out_begin || out >= part.out_begin + part.out_rows) continue;
    const int64_t row = out - part.out_begin;
    double sum = part.shift.empty() ? 0 : part.shift[static_cast<size_t>(row)];
    for (int64_t j = 0; j < part.rank; ++j) {
      double u = 0;
      for (int64_t k = 0; k < kIn; ++k)
        u += double{part.a[static_cast<size_t>(j * kIn + k)]} * double{x[k]};
      sum += double{part.b[static_cast<size_t>(row * part.rank + j)]} * u;
    }
    return sum;
  }
  return 0;
}

class LowRankTest : public testing::TestWithParam<IsaLevel> {
 protected:
  const KernelTable& kernels_ = *TableFor(GetParam());
  const Packed first_{kernels_, DType::kF32, Parts(1, {4, 16, 1})};
  const Packed second_{kernels_, DType::kF16,
                       Parts(50, {0, 35})};  // a part of shifts, more than one panel of A
  const std::vector<float> x_ = Random(kRows * kIn, 90);
  const std::vector<float> y_ = Random(kRows * kOut, 91);
};

// Rows that stand together, rows that don't, and rows that nobody changes.
TEST_P(LowRankTest, ChangesItsRowsAndNoOthers) {
  std::vector<int64_t> block(20);
  std::iota(block.begin(), block.end(), 3);
  std::vector<int64_t> scattered = {0, 2, 24, 25, 26, 30, 31};
  for (int64_t row = 33; row < kRows; ++row) scattered.push_back(row);
  for (const int threads : {1, 2, 3}) {
    const std::vector<float> y =
        Update(kernels_, threads, {{&first_.update, block}, {&second_.update, scattered}}, x_, y_);
    for (int64_t row = 0; row < kRows; ++row) {
      const bool in_block = std::find(block.begin(), block.end(), row) != block.end();
      const bool in_scattered =
          std::find(scattered.begin(), scattered.end(), row) != scattered.end();
      for (int64_t out = 0; out < kOut; ++out) {
        const auto at = static_cast<size_t>(row * kOut + out);
        const double change =
            in_block       ? Expected(first_.parts, &x_[static_cast<size_t>(row * kIn)], out)
            : in_scattered ? Expected(second_.parts, &x_[static_cast<size_t>(row * kIn)], out)
                           : 0;
        // Sums of 70, then of up to 35 products, in float32: 1e-7 of their sizes (below 1000).
        ASSERT_NEAR(y[at], double{y_[at]} + change, 1e-3) << threads << " " << row << " " << out;
        if (!in_block && !in_scattered) {
          ASSERT_EQ(y[at], y_[at]);
        }
      }
    }
  }
}

TEST(LowRankTest, F16WhereItCostsNothing) {
  std::vector<float> values = Random(1000, 5);
  EXPECT_TRUE(FitsF16(values));
  for (float& v : values) v *= 0x1p-14F;  // about half of them are subnormal there
  EXPECT_TRUE(FitsF16(values));
  for (float& v : values) v *= 0x1p-6F;  // five bits are left
  EXPECT_FALSE(FitsF16(values));
  values = Random(1000, 5);
  values[7] = 70000;
  EXPECT_FALSE(FitsF16(values));
  EXPECT_TRUE(FitsF16(std::vector<float>(10, 0.0F)));
}

// Decision 0003: the same bits alone and in any crowd.
TEST_P(LowRankTest, RowsDoNotKnowEachOther) {
  std::vector<int64_t> all(kRows);
  std::iota(all.begin(), all.end(), 0);
  std::vector<int64_t> even;
  std::vector<int64_t> odd;
  for (const int64_t row : all) (row % 2 == 0 ? even : odd).push_back(row);
  const std::vector<float> crowd = Update(kernels_, 1, {{&first_.update, all}}, x_, y_);
  const std::vector<float> mixed =
      Update(kernels_, 2, {{&second_.update, even}, {&first_.update, odd}}, x_, y_);
  std::vector<LowRankRows> singles;  // more groups than are computed together
  for (const int64_t& row : all) singles.push_back({&first_.update, {&row, 1}});
  const std::vector<float> apart = Update(kernels_, 2, singles, x_, y_);
  for (const int64_t row : all) {
    const std::vector<int64_t> one = {row};
    const std::vector<float> alone = Update(kernels_, 1, {{&first_.update, one}}, x_, y_);
    const auto begin = static_cast<size_t>(row * kOut);
    for (size_t i = begin; i < begin + kOut; ++i) {
      ASSERT_EQ(crowd[i], alone[i]) << row;
      ASSERT_EQ(apart[i], alone[i]) << row;
      if (row % 2 == 1) {
        ASSERT_EQ(mixed[i], alone[i]) << row;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, LowRankTest, testing::ValuesIn(SupportedLevels()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace inhouse::engine
