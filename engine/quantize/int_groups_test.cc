#include "engine/quantize/int_groups.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

double Error(const std::vector<float>& w, const std::vector<float>& importance, float scale,
             int bits) {
  double sum = 0;
  for (size_t i = 0; i < w.size(); ++i) {
    const double d = static_cast<double>(w[i]) -
                     static_cast<double>(EncodeInt(w[i], scale, bits)) * static_cast<double>(scale);
    sum += static_cast<double>(importance[i]) * d * d;
  }
  return sum;
}

std::vector<float> Draw(std::mt19937* random, int kind, size_t n) {
  std::normal_distribution<float> normal(0, 0.03F);
  std::vector<float> w(n);
  for (float& x : w) {
    x = normal(*random);
    if (kind == 1) x = x * x * x * 1e4F;           // heavy tails
    if (kind == 2) x = std::round(x * 100) / 100;  // few values
    if (kind == 3) x = x > 0.06F ? 30 * x : x;     // outliers
    if (kind == 4) x *= 1e-30F;
  }
  return w;
}

TEST(IntGroups, SearchIsNeverWorseThanAbsmax) {
  std::mt19937 random(3);
  double better = 0;
  double groups = 0;
  for (int kind = 0; kind < 5; ++kind) {
    for (int round = 0; round < 200; ++round) {
      const int bits = round % 2 == 0 ? 4 : 8;
      const std::vector<float> w = Draw(&random, kind, round % 3 == 0 ? 32 : 128);
      const bool weighted = round % 5 == 0;
      std::vector<float> importance(w.size(), 1.0F);
      if (weighted) {
        for (float& x : importance) x = std::exp(std::normal_distribution<float>()(random));
      }
      const auto n = static_cast<int64_t>(w.size());
      const float found = SearchScale(w.data(), weighted ? importance.data() : nullptr, n, bits);
      const float plain = AbsmaxScale(w.data(), n, bits);
      // The search adds up in float32.
      ASSERT_LE(Error(w, importance, found, bits),
                Error(w, importance, plain, bits) * (1 + 1e-5) + 1e-80);
      EXPECT_EQ(found, FromBF16(ToBF16(found)));
      if (bits == 4 && kind == 0) {
        better += 1 - Error(w, importance, found, bits) / Error(w, importance, plain, bits);
        ++groups;
      }
    }
  }
  // Not only "never worse": bell-shaped groups gain.
  EXPECT_GT(better / groups, 0.05);
}

TEST(IntGroups, AbsmaxReachesTheLargest) {
  const std::vector<float> w = {0.1F, -0.75F, 0.5F};
  EXPECT_EQ(AbsmaxScale(w.data(), 3, 4), FromBF16(ToBF16(0.75F / 7.5F)));
  EXPECT_EQ(AbsmaxScale(w.data(), 3, 8), FromBF16(ToBF16(0.75F / 127.5F)));
  const std::vector<float> zeros(8, 0.0F);
  EXPECT_EQ(AbsmaxScale(zeros.data(), 8, 4), 1.0F);
  EXPECT_EQ(SearchScale(zeros.data(), nullptr, 8, 4), 1.0F);
}

TEST(IntGroups, CodesAreNearestAndClamped) {
  EXPECT_EQ(EncodeInt(2.5F, 1.0F, 4), 2);
  EXPECT_EQ(EncodeInt(3.5F, 1.0F, 4), 4);
  EXPECT_EQ(EncodeInt(-2.5F, 1.0F, 4), -2);
  EXPECT_EQ(EncodeInt(7.9F, 1.0F, 4), 7);
  EXPECT_EQ(EncodeInt(-100.0F, 1.0F, 4), -8);
  EXPECT_EQ(EncodeInt(1e30F, 1.0F, 8), 127);
  EXPECT_EQ(EncodeInt(-1e30F, 1.0F, 8), -128);
}

// Made with compressed-tensors 0.20.0: tests/fixtures/quantize/make_packing.py.
TEST(IntGroups, PacksLikeCompressedTensors) {
  std::vector<int8_t> four;
  for (int i = 0; i < 20; ++i) four.push_back(static_cast<int8_t>(i * 7 % 16 - 8));
  std::vector<uint32_t> words(3);
  PackCodes(four.data(), 20, 4, words.data());
  EXPECT_EQ(words, (std::vector<uint32_t>{0x1A3C5E70, 0x92B4D6F8, 0x00005E70}));
  std::vector<int8_t> eight;
  for (int i = 0; i < 6; ++i) eight.push_back(static_cast<int8_t>(i * 53 % 256 - 128));
  words.resize(2);
  PackCodes(eight.data(), 6, 8, words.data());
  EXPECT_EQ(words, (std::vector<uint32_t>{0x9F6A3500, 0x000009D4}));
}

}  // namespace
}  // namespace inhouse::engine
