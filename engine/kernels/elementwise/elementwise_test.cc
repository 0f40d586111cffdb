#include "engine/kernels/elementwise/elementwise.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kCanary = 12345.678F;
constexpr double kEpsilon = 0x1p-24;  // half a unit in the last place of a float

std::vector<float> Random(size_t n, uint32_t seed, float spread = 3.0F) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, spread);
  std::vector<float> values(n);
  for (float& value : values) value = normal(generator);
  return values;
}

uint32_t Bits(float value) { return std::bit_cast<uint32_t>(value); }

class ElementwiseTest : public testing::TestWithParam<IsaLevel> {
 protected:
  const ElementwiseKernels& kernels() const { return *TableFor(GetParam())->elementwise; }
};

// Every length around the vector widths, at every misalignment of a float in a 16-byte word, with a
// canary behind the last element.
template <typename F>
void ForEachLengthAndOffset(F f) {
  for (int64_t n = 0; n <= 130; ++n) f(n, n % 4);
  for (const int64_t n : {255, 256, 257, 1023, 1024, 1025, 4096, 4099}) f(n, 1);
}

TEST_P(ElementwiseTest, RmsNorm) {
  ForEachLengthAndOffset([this](int64_t n, int64_t offset) {
    if (n == 0) return;
    const std::vector<float> x = Random(static_cast<size_t>(n + offset), 1);
    const std::vector<float> w = Random(static_cast<size_t>(n + offset), 2);
    std::vector<float> y(static_cast<size_t>(n + offset + 1), kCanary);
    kernels().rms_norm(x.data() + offset, w.data() + offset, n, 1e-6F, y.data() + offset);
    double sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += std::pow(double{x[static_cast<size_t>(i + offset)]}, 2);
    const double factor = 1.0 / std::sqrt(sum / static_cast<double>(n) + double{1e-6F});
    // Half the error of the sum (a chain of at most n / 32 + 8 positive terms) and three roundings.
    const double tolerance = (static_cast<double>(n) / 64 + 8) * kEpsilon;
    for (int64_t i = 0; i < n; ++i) {
      const auto j = static_cast<size_t>(i + offset);
      const double expected = double{w[j]} * double{x[j]} * factor;
      ASSERT_NEAR(y[j], expected, std::abs(expected) * tolerance) << n << " " << i;
    }
    ASSERT_EQ(y[static_cast<size_t>(n + offset)], kCanary);
    std::vector<float> in_place = x;
    kernels().rms_norm(in_place.data() + offset, w.data() + offset, n, 1e-6F,
                       in_place.data() + offset);
    for (int64_t i = 0; i < n; ++i) {
      ASSERT_EQ(in_place[static_cast<size_t>(i + offset)], y[static_cast<size_t>(i + offset)]);
    }
  });
}

TEST_P(ElementwiseTest, RmsNormOfZerosIsZero) {
  std::vector<float> x(77, 0.0F);
  const std::vector<float> w(77, 2.0F);
  kernels().rms_norm(x.data(), w.data(), 77, 1e-6F, x.data());
  for (const float value : x) EXPECT_EQ(value, 0.0F);
}

TEST_P(ElementwiseTest, RopeHalfAndInterleaved) {
  for (int64_t half = 1; half <= 70; ++half) {
    const auto n = static_cast<size_t>(2 * half);
    std::vector<float> cos_sin(n);
    for (int64_t i = 0; i < half; ++i) {
      const double angle = 0.37 * static_cast<double>(i * i + 1);
      cos_sin[static_cast<size_t>(i)] = static_cast<float>(std::cos(angle));
      cos_sin[static_cast<size_t>(half + i)] = static_cast<float>(std::sin(angle));
    }
    const std::vector<float> x = Random(n, 3);
    for (const bool interleaved : {false, true}) {
      std::vector<float> y = x;
      y.push_back(kCanary);
      if (interleaved) {
        kernels().rope_interleaved(y.data(), cos_sin.data(), 2 * half);
      } else {
        kernels().rope_half(y.data(), cos_sin.data(), 2 * half);
      }
      for (int64_t i = 0; i < half; ++i) {
        const auto a = static_cast<size_t>(interleaved ? 2 * i : i);
        const auto b = static_cast<size_t>(interleaved ? 2 * i + 1 : half + i);
        const double cos = cos_sin[static_cast<size_t>(i)];
        const double sin = cos_sin[static_cast<size_t>(half + i)];
        const double tolerance = 3 * kEpsilon * (std::abs(double{x[a]}) + std::abs(double{x[b]}));
        ASSERT_NEAR(y[a], double{x[a]} * cos - double{x[b]} * sin, tolerance) << half << " " << i;
        ASSERT_NEAR(y[b], double{x[b]} * cos + double{x[a]} * sin, tolerance) << half << " " << i;
      }
      ASSERT_EQ(y.back(), kCanary);
    }
  }
}

TEST_P(ElementwiseTest, SiluMul) {
  ForEachLengthAndOffset([this](int64_t n, int64_t offset) {
    const std::vector<float> gate = Random(static_cast<size_t>(n + offset), 4, 8.0F);
    const std::vector<float> up = Random(static_cast<size_t>(n + offset), 5);
    std::vector<float> y(static_cast<size_t>(n + offset + 1), kCanary);
    kernels().silu_mul(gate.data() + offset, up.data() + offset, n, y.data() + offset);
    for (int64_t i = 0; i < n; ++i) {
      const auto j = static_cast<size_t>(i + offset);
      const double z = gate[j];
      const double expected = z / (1.0 + std::exp(-z)) * double{up[j]};
      ASSERT_NEAR(y[j], expected, std::abs(expected) * 1e-6) << z;
      // The value does not depend on the place in the row.
      float alone = 0;
      kernels().silu_mul(&gate[j], &up[j], 1, &alone);
      ASSERT_EQ(Bits(alone), Bits(y[j]));
    }
    ASSERT_EQ(y[static_cast<size_t>(n + offset)], kCanary);
  });
}

TEST_P(ElementwiseTest, SiluMulOfExtremes) {
  const std::vector<float> gate = {-1e4F, -200.0F, -88.5F,    88.5F, 1e4F,
                                   1e38F, 0.0F,    kInfinity, kNan};
  const std::vector<float> up(gate.size(), 1.0F);
  std::vector<float> y(gate.size());
  kernels().silu_mul(gate.data(), up.data(), static_cast<int64_t>(gate.size()), y.data());
  EXPECT_EQ(y[0], 0.0F);
  EXPECT_NEAR(y[1], 0.0F, 1e-30);
  EXPECT_NEAR(y[2], 0.0F, 1e-30);
  EXPECT_EQ(y[3], 88.5F);
  EXPECT_EQ(y[4], 1e4F);
  EXPECT_EQ(y[5], 1e38F);
  EXPECT_EQ(y[6], 0.0F);
  EXPECT_EQ(y[7], kInfinity);
  EXPECT_TRUE(std::isnan(y[8]));
}

TEST_P(ElementwiseTest, AddScaleAxpy) {
  ForEachLengthAndOffset([this](int64_t n, int64_t offset) {
    const auto size = static_cast<size_t>(n + offset);
    const std::vector<float> x = Random(size, 6);
    const std::vector<float> y0 = Random(size, 7);
    std::vector<float> sum = y0;
    std::vector<float> scaled = y0;
    std::vector<float> axpy = y0;
    for (std::vector<float>* v : {&sum, &scaled, &axpy}) v->push_back(kCanary);
    kernels().add(sum.data() + offset, x.data() + offset, n);
    kernels().scale(scaled.data() + offset, 0.7F, n);
    kernels().axpy(axpy.data() + offset, -1.3F, x.data() + offset, n);
    for (int64_t i = 0; i < n; ++i) {
      const auto j = static_cast<size_t>(i + offset);
      ASSERT_EQ(sum[j], y0[j] + x[j]);
      ASSERT_EQ(scaled[j], y0[j] * 0.7F);
      ASSERT_NEAR(axpy[j], double{y0[j]} - double{1.3F} * double{x[j]},
                  2 * kEpsilon * (std::abs(double{y0[j]}) + 1.3 * std::abs(double{x[j]})));
    }
    for (int64_t j = 0; j < offset; ++j)
      ASSERT_EQ(sum[static_cast<size_t>(j)], y0[static_cast<size_t>(j)]);
    for (std::vector<float>* v : {&sum, &scaled, &axpy}) ASSERT_EQ(v->back(), kCanary);
  });
}

TEST_P(ElementwiseTest, MaxAndArgMaxFindTheFirstLargestEverywhere) {
  for (int64_t n = 1; n <= 130; ++n) {
    for (int64_t at = 0; at < n; ++at) {
      std::vector<float> x(static_cast<size_t>(n) + 1, -7.0F);
      x[static_cast<size_t>(n)] = 100.0F;  // beyond the end
      x[static_cast<size_t>(at)] = -2.0F;
      x[static_cast<size_t>(n) - 1] = -2.0F;  // a later equal one
      ASSERT_EQ(kernels().max(x.data(), n), -2.0F);
      ASSERT_EQ(kernels().argmax(x.data(), n), at) << n;
    }
  }
}

TEST_P(ElementwiseTest, MaxAndArgMaxOfVocabulary) {
  std::vector<float> x = Random(151936, 8);
  x[150001] = 50.0F;
  EXPECT_EQ(kernels().argmax(x.data(), 151936), 150001);
  EXPECT_EQ(kernels().argmax(x.data() + 1, 151935), 150000);
}

TEST_P(ElementwiseTest, MaxAndArgMaxSkipNan) {
  EXPECT_EQ(kernels().max(nullptr, 0), -kInfinity);
  EXPECT_EQ(kernels().argmax(nullptr, 0), -1);
  for (const size_t n : {size_t{1}, size_t{7}, size_t{16}, size_t{33}, size_t{100}}) {
    std::vector<float> x(n, kNan);
    const auto length = static_cast<int64_t>(n);
    EXPECT_EQ(kernels().max(x.data(), length), -kInfinity);
    EXPECT_EQ(kernels().argmax(x.data(), length), -1);
    x[n / 2] = -3.0F;
    EXPECT_EQ(kernels().max(x.data(), length), -3.0F);
    EXPECT_EQ(kernels().argmax(x.data(), length), length / 2);
    x.assign(n, -kInfinity);
    EXPECT_EQ(kernels().max(x.data(), length), -kInfinity);
    EXPECT_EQ(kernels().argmax(x.data(), length), 0);
    x[n - 1] = kInfinity;
    EXPECT_EQ(kernels().argmax(x.data(), length), length - 1);
  }
}

TEST_P(ElementwiseTest, ExpIsWithin1e6FromUnderflowToOverflow) {
  constexpr int64_t kPoints = 400000;
  std::vector<float> x(kPoints);
  for (int64_t i = 0; i < kPoints; ++i) {
    x[static_cast<size_t>(i)] = -110.0F + 199.0F * static_cast<float>(i) / kPoints;
  }
  std::vector<float> y = x;
  kernels().exp_sum(y.data(), kPoints, 0.0F);
  double worst = 0;
  for (size_t i = 0; i < y.size(); ++i) {
    const double expected = std::exp(double{x[i]});
    if (expected > double{std::numeric_limits<float>::max()}) {
      ASSERT_EQ(y[i], kInfinity) << x[i];
      continue;
    }
    const double error = std::abs(double{y[i]} - expected);
    ASSERT_LE(error, 1e-6 * expected + 0x1p-149) << x[i];
    if (expected > 0x1p-126) worst = std::max(worst, error / expected);
  }
  RecordProperty("worst_relative_error", std::to_string(worst));
  EXPECT_LE(worst, 2e-7);
}

TEST_P(ElementwiseTest, ExpSum) {
  ForEachLengthAndOffset([this](int64_t n, int64_t offset) {
    std::vector<float> x = Random(static_cast<size_t>(n + offset), 9);
    const std::vector<float> x0 = x;
    x.push_back(kCanary);
    const float sum = kernels().exp_sum(x.data() + offset, n, 2.5F);
    double expected = 0;
    for (int64_t i = 0; i < n; ++i) {
      const auto j = static_cast<size_t>(i + offset);
      const double e = std::exp(double{x0[j] - 2.5F});
      ASSERT_NEAR(x[j], e, e * 1e-6);
      expected += e;
    }
    ASSERT_NEAR(sum, expected, expected * 2e-6) << n;
    ASSERT_EQ(x.back(), kCanary);
  });
}

TEST_P(ElementwiseTest, ExpSumOfVocabularyKeepsItsPrecision) {
  std::vector<float> x(150000, -11.0F);
  x[77] = 0.0F;
  const double expected = 149999 * std::exp(-11.0) + 1.0;
  EXPECT_NEAR(kernels().exp_sum(x.data(), 150000, 0.0F), expected, expected * 1e-6);
}

TEST_P(ElementwiseTest, ExpSumOfExtremes) {
  std::vector<float> x = {-1e4F, 0.0F, -kInfinity, -200.0F, -1e38F};
  EXPECT_EQ(kernels().exp_sum(x.data(), 5, 0.0F), 1.0F);
  EXPECT_EQ(x, (std::vector<float>{0.0F, 1.0F, 0.0F, 0.0F, 0.0F}));
  for (const size_t n : {size_t{1}, size_t{9}, size_t{16}, size_t{40}}) {
    std::vector<float> masked(n, -kInfinity);
    EXPECT_EQ(kernels().exp_sum(masked.data(), static_cast<int64_t>(n), -kInfinity), 0.0F);
    for (const float value : masked) EXPECT_EQ(value, 0.0F);
    std::vector<float> poisoned(n, 0.0F);
    poisoned[n - 1] = kNan;
    EXPECT_TRUE(std::isnan(kernels().exp_sum(poisoned.data(), static_cast<int64_t>(n), 0.0F)));
    EXPECT_TRUE(std::isnan(poisoned[n - 1]));
  }
  EXPECT_EQ(kernels().exp_sum(nullptr, 0, 0.0F), 0.0F);
}

INSTANTIATE_TEST_SUITE_P(Levels, ElementwiseTest, testing::ValuesIn(SupportedLevels()),
                         [](const auto& info) { return std::string(Name(info.param)); });

}  // namespace
}  // namespace inhouse::engine
