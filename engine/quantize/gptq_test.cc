#include "engine/quantize/gptq.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/quantize/fp8.h"
#include "engine/quantize/int_groups.h"
#include "engine/quantize/products.h"
#include "engine/tensor/float8.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kRows = 40;
constexpr int64_t kColumns = 192;  // one block and a half
constexpr int64_t kTokens = 300;
constexpr int64_t kGroup = 64;

size_t At(int64_t i) { return static_cast<size_t>(i); }

// Inputs that depend on each other, as those of a model do.
std::vector<float> CorrelatedInputs(std::mt19937* random) {
  std::normal_distribution<float> normal;
  std::vector<float> x(At(kTokens * kColumns));
  for (int64_t t = 0; t < kTokens; ++t) {
    float carried = 0;
    for (int64_t c = 0; c < kColumns; ++c) {
      carried = 0.9F * carried + normal(*random);
      x[At(t * kColumns + c)] = carried * (c % 17 == 0 ? 5.0F : 1.0F);
    }
  }
  return x;
}

Moments MomentsOf(const std::vector<float>& x) {
  Moments m{.columns = kColumns,
            .tokens = kTokens,
            .values = std::vector<float>(At(kColumns * kColumns))};
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      double sum = 0;
      for (int64_t t = 0; t < kTokens; ++t) {
        sum += static_cast<double>(x[At(t * kColumns + i)]) *
               static_cast<double>(x[At(t * kColumns + j)]);
      }
      m.values[At(i * kColumns + j)] = static_cast<float>(sum);
    }
  }
  return m;
}

// Sum over rows of (w - q) H (w - q)^T.
double OutputError(const std::vector<float>& w, const std::vector<float>& q, const Moments& m) {
  double total = 0;
  for (int64_t r = 0; r < kRows; ++r) {
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        total += static_cast<double>(w[At(r * kColumns + i)] - q[At(r * kColumns + i)]) *
                 static_cast<double>(m.values[At(i * kColumns + j)]) *
                 static_cast<double>(w[At(r * kColumns + j)] - q[At(r * kColumns + j)]);
      }
    }
  }
  return total;
}

std::vector<float> Dequantize(const GptqResult& result) {
  std::vector<float> q(result.codes.size());
  for (size_t i = 0; i < q.size(); ++i) {
    q[i] = static_cast<float>(result.codes[i]) * result.scales[i / At(kGroup)];
  }
  return q;
}

class Gptq : public testing::Test {
 protected:
  Gptq() : random_(11), weights_(At(kRows * kColumns)) {
    moments_ = MomentsOf(CorrelatedInputs(&random_));
    std::normal_distribution<float> normal(0, 0.02F);
    for (float& w : weights_) w = normal(random_);
  }

  GptqResult RunWith(int threads, IsaLevel level = IsaLevel::kRef) const {
    base::ThreadTeam team(threads);
    const KernelTable& kernels = *TableFor(level);
    return RunGptq(weights_, kRows, ErrorFactor(moments_, kernels, team), kColumns, 4, kGroup,
                   kernels, team);
  }

  std::mt19937 random_;
  Moments moments_;
  std::vector<float> weights_;
};

TEST_F(Gptq, FactorGivesBackTheDampedMoments) {
  base::ThreadTeam team(2);
  for (const IsaLevel level : SupportedLevels()) {
    const std::vector<float> t = ErrorFactor(moments_, *TableFor(level), team);
    double trace = 0;
    for (int64_t i = 0; i < kColumns; ++i)
      trace += static_cast<double>(moments_.values[At(i * kColumns + i)]);
    for (int64_t i = 0; i < kColumns; ++i) {
      for (int64_t j = 0; j < kColumns; ++j) {
        if (j > i) {
          ASSERT_EQ(t[At(i * kColumns + j)], 0.0F);
        }
        double sum = 0;
        for (int64_t k = 0; k < kColumns; ++k) {
          sum += static_cast<double>(t[At(k * kColumns + i)]) *
                 static_cast<double>(t[At(k * kColumns + j)]);
        }
        const double expected = static_cast<double>(moments_.values[At(i * kColumns + j)]) +
                                (i == j ? 0.01 * trace / kColumns : 0.0);
        ASSERT_NEAR(sum, expected, 1e-5 * trace) << Name(level) << " " << i << " " << j;
      }
    }
  }
}

TEST_F(Gptq, BeatsTheScaleSearchOnCorrelatedInputs) {
  const double gptq = OutputError(weights_, Dequantize(RunWith(1)), moments_);
  std::vector<float> plain(weights_.size());
  for (int64_t g = 0; g < kRows * kColumns / kGroup; ++g) {
    const float scale = SearchScale(weights_.data() + g * kGroup, nullptr, kGroup, 4);
    for (int64_t i = g * kGroup; i < (g + 1) * kGroup; ++i) {
      plain[At(i)] = static_cast<float>(EncodeInt(weights_[At(i)], scale, 4)) * scale;
    }
  }
  EXPECT_LT(gptq, 0.6 * OutputError(weights_, plain, moments_));
}

// FP8's codes have the scales of the plain format, and reach the edges of a matrix whose rows and
// columns end inside a block.
TEST_F(Gptq, Fp8BeatsTheNearestCodes) {
  constexpr int64_t kBlock = 128;
  base::ThreadTeam team(2);
  const KernelTable& kernels = *TableFor(IsaLevel::kRef);
  const Fp8Result result = RunGptqFp8(weights_, kRows, ErrorFactor(moments_, kernels, team),
                                      kColumns, kBlock, kernels, team);
  ASSERT_EQ(result.scales.size(), 2U);
  std::vector<float> gptq(weights_.size());
  std::vector<float> plain(weights_.size());
  for (const int64_t c : {int64_t{0}, kBlock}) {
    const int64_t n = std::min(kBlock, kColumns - c);
    std::vector<uint8_t> codes(weights_.size());
    const float scale = EncodeFp8Block(weights_.data() + c, kRows, n, kColumns, codes.data());
    EXPECT_EQ(result.scales[At(c / kBlock)], scale);
    for (int64_t r = 0; r < kRows; ++r) {
      for (int64_t i = 0; i < n; ++i) {
        const size_t at = At(r * kColumns + c + i);
        plain[at] = FromE4M3(codes[At(r * kColumns + i)]) * scale;
        gptq[at] = FromE4M3(result.codes[at]) * scale;
      }
    }
  }
  EXPECT_LT(OutputError(weights_, gptq, moments_), 0.6 * OutputError(weights_, plain, moments_));
  base::ThreadTeam three(3);
  EXPECT_EQ(RunGptqFp8(weights_, kRows, ErrorFactor(moments_, kernels, three), kColumns, kBlock,
                       kernels, three)
                .codes,
            result.codes);
}

// With inputs that do not depend on each other there is nothing to make up for: every code is the
// nearest one.
TEST_F(Gptq, RoundsToNearestOnIndependentInputs) {
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j)
      moments_.values[At(i * kColumns + j)] = i == j ? 3.0F : 0.0F;
  }
  const GptqResult result = RunWith(2);
  for (size_t i = 0; i < weights_.size(); ++i) {
    ASSERT_EQ(result.codes[i], EncodeInt(weights_[i], result.scales[i / At(kGroup)], 4));
  }
}

TEST_F(Gptq, DoesNotDependOnTheNumberOfThreads) {
  const GptqResult one = RunWith(1, SupportedLevels().back());
  const GptqResult three = RunWith(3, SupportedLevels().back());
  EXPECT_EQ(one.codes, three.codes);
  EXPECT_EQ(one.scales, three.scales);
}

// Columns that the text never used, and moments of rank 1.
TEST_F(Gptq, DegenerateMoments) {
  for (int64_t i = 0; i < kColumns; ++i) {
    for (int64_t j = 0; j < kColumns; ++j) {
      moments_.values[At(i * kColumns + j)] = i < 50 && j < 50 ? 1e-3F : 0.0F;
    }
  }
  const GptqResult result = RunWith(1);
  for (const float scale : result.scales) ASSERT_TRUE(std::isfinite(scale) && scale > 0);
  const std::vector<float> q = Dequantize(result);
  for (size_t i = 0; i < q.size(); ++i) ASSERT_LT(std::abs(q[i]), 0.3F);
}

TEST(Products, AddsAtEveryLevelAndSize) {
  std::mt19937 random(5);
  std::uniform_real_distribution<float> uniform(-1, 1);
  base::ThreadTeam team(2);
  for (const auto& [m, n, k] : {std::array<int64_t, 3>{1, 1, 1}, {37, 65, 19}, {5, 33, 130}}) {
    std::vector<float> a(At(m * (k + 3)));
    std::vector<float> b(At(n * (k + 1)));
    for (float& x : a) x = uniform(random);
    for (float& x : b) x = uniform(random);
    for (const IsaLevel level : SupportedLevels()) {
      std::vector<float> c(At(m * (n + 2)), 1.0F);
      AddProduct(*TableFor(level), team, {a.data(), m, k + 3}, {b.data(), n, k + 1}, k, -2.0F,
                 c.data(), n + 2);
      for (int64_t i = 0; i < m; ++i) {
        for (int64_t j = 0; j < n + 2; ++j) {
          double expected = 1;
          for (int64_t t = 0; j < n && t < k; ++t) {
            expected -= 2.0 * static_cast<double>(a[At(i * (k + 3) + t)]) *
                        static_cast<double>(b[At(j * (k + 1) + t)]);
          }
          // k products of magnitude 1, each rounded to 2^-24 of a sum below 2 k.
          ASSERT_NEAR(static_cast<double>(c[At(i * (n + 2) + j)]), expected,
                      1e-7 * static_cast<double>(4 * k * k));
        }
      }
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
