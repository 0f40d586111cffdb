#include "engine/quantize/divergence.h"

#include <cmath>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::vector<float> Logs(const std::vector<double>& p, double shift) {
  std::vector<float> out;
  for (const double x : p) out.push_back(static_cast<float>(std::log(x) + shift));
  return out;
}

TEST(Divergence, KnownDistributions) {
  const std::vector<double> p = {0.5, 0.25, 0.125, 0.125};
  const std::vector<double> q = {0.25, 0.5, 0.125, 0.125};
  Divergence d;
  // Logits may be shifted by any constant.
  d.Add(Logs(p, 80), Logs(q, -3), 0);
  d.Add(Logs(p, 0), Logs(p, 100), 1);
  const DivergenceSummary s = d.Summary();
  EXPECT_EQ(s.positions, 2);
  EXPECT_DOUBLE_EQ(s.top1_agreement, 0.5);
  const double kl = 0.5 * std::log(2.0) - 0.25 * std::log(2.0);
  EXPECT_NEAR(s.kl_mean, kl / 2, 1e-5);
  EXPECT_NEAR(s.kl_p99, kl, 1e-5);
  EXPECT_NEAR(s.perplexity_a, std::exp((std::log(2.0) + std::log(4.0)) / 2), 1e-4);
  EXPECT_NEAR(s.perplexity_b, std::exp((std::log(4.0) + std::log(4.0)) / 2), 1e-4);
}

TEST(Divergence, TheNinetyNinthOfAHundred) {
  Divergence d;
  const std::vector<float> a = {0.0F, 0.0F};
  for (int i = 1; i <= 200; ++i) {
    const std::vector<float> b = {0.0F, static_cast<float>(i) * 0.01F};
    d.Add(a, b, std::nullopt);
  }
  // Of 200 values in order the 198th.
  const double x = 1.98;
  const double log_sum = std::log(1 + std::exp(x));
  EXPECT_NEAR(d.Summary().kl_p99, std::log(0.5) + log_sum - x / 2, 1e-6);
  EXPECT_TRUE(std::isnan(d.Summary().perplexity_a));
}

TEST(Divergence, EqualModelsAndBrokenOnes) {
  Divergence d;
  const std::vector<float> a = {1.0F, -200.0F, 3.0F, 3.0F};
  d.Add(a, a, 2);
  EXPECT_EQ(d.Summary().kl_mean, 0.0);
  EXPECT_EQ(d.Summary().top1_agreement, 1.0);
  d.Add(a, std::vector<float>{1.0F, std::nanf(""), 3.0F, 3.0F}, 2);
  EXPECT_TRUE(std::isnan(d.Summary().kl_mean));
  EXPECT_EQ(Divergence().Summary().positions, 0);
}

}  // namespace
}  // namespace inhouse::engine
