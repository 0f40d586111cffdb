#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

const ElementwiseKernels& Kernels() { return *TableFor(IsaLevel::kRef)->elementwise; }

std::map<int32_t, int> Histogram(const SamplingOptions& options, const std::vector<float>& logits,
                                 int draws) {
  Sampler sampler(options, {}, Kernels());
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i) ++counts[sampler.Sample(logits)];
  return counts;
}

TEST(SamplerTest, GreedyTakesTheLowestOfTheBest) {
  Sampler sampler({.temperature = 0, .seed = 1}, {}, Kernels());
  const std::vector<float> logits = {0.5F, 2.0F, 2.0F, -1.0F};
  EXPECT_EQ(sampler.Sample(logits), 1);
  const std::vector<int32_t> banned = {1, 2};
  EXPECT_EQ(sampler.Sample(logits, banned), 0);
}

TEST(SamplerTest, DrawsFollowTheDistribution) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.3F), std::log(0.2F)};
  const auto counts = Histogram({.seed = 7}, logits, 20000);
  EXPECT_NEAR(counts.at(0) / 20000.0, 0.5, 0.015);  // four standard errors
  EXPECT_NEAR(counts.at(1) / 20000.0, 0.3, 0.015);
  EXPECT_NEAR(counts.at(2) / 20000.0, 0.2, 0.015);
}

TEST(SamplerTest, CutsApplyInOrder) {
  const std::vector<float> logits = {std::log(0.4F), std::log(0.3F), std::log(0.2F),
                                     std::log(0.1F)};
  EXPECT_EQ(Histogram({.top_k = 2, .seed = 1}, logits, 500).size(), 2U);
  EXPECT_EQ(Histogram({.top_p = 0.65F, .seed = 1}, logits, 500).size(), 2U);
  EXPECT_EQ(Histogram({.min_p = 0.6F, .seed = 1}, logits, 500).size(), 2U);
  // Of the two that top-k leaves, the first has 4/7 of the mass: more than top-p asks for.
  EXPECT_EQ(Histogram({.top_k = 2, .top_p = 0.5F, .seed = 1}, logits, 500).size(), 1U);
  EXPECT_EQ(Histogram({.top_p = 0.0F, .seed = 1}, logits, 100).size(), 1U);
}

// The cuts look at slices of the logits; what they find is what sorting everything finds. Flat
// logits need the whole vocabulary, peaked ones a few tokens, and those far below the best one are
// reached too.
TEST(SamplerTest, CutsOfLargeVocabularies) {
  constexpr int kVocab = 20000;
  std::mt19937 random(4);
  for (const float spread : {0.0F, 1.0F, 8.0F, 60.0F}) {
    std::normal_distribution<float> normal(-7.0F, spread);
    std::vector<float> logits(kVocab, -7.0F);
    if (spread > 0) {
      for (float& x : logits) x = normal(random);
    }
    std::vector<int32_t> order(kVocab);
    for (int32_t i = 0; i < kVocab; ++i) order[static_cast<size_t>(i)] = i;
    std::stable_sort(order.begin(), order.end(), [&logits](int32_t a, int32_t b) {
      return logits[static_cast<size_t>(a)] > logits[static_cast<size_t>(b)];
    });
    std::vector<double> weights;
    double total = 0;
    for (const int32_t id : order) {
      weights.push_back(std::exp(double{logits[static_cast<size_t>(id)]} + 7));
      total += weights.back();
    }
    for (const float p : {0.0F, 0.5F, 0.9F, 0.9999F}) {
      size_t nucleus = 0;
      for (double sum = 0; nucleus == 0 || sum < double{p} * total;) sum += weights[nucleus++];
      const std::set<int32_t> allowed(order.begin(),
                                      order.begin() + static_cast<ptrdiff_t>(nucleus + 1));
      const auto counts = Histogram({.top_p = p, .seed = 5}, logits, 200);
      for (const auto& [id, count] : counts) {
        EXPECT_TRUE(allowed.contains(id)) << spread << " " << p << ": " << id;
      }
      EXPECT_LE(counts.size(), nucleus + 1);
      EXPECT_GE(counts.size(), nucleus > 2000 ? 100U : 1U);
    }
    for (const int k : {1, 40, 5000}) {
      const std::set<int32_t> allowed(order.begin(), order.begin() + k);
      for (const auto& [id, count] : Histogram({.top_k = k, .seed = 6}, logits, 200)) {
        EXPECT_TRUE(allowed.contains(id)) << spread << " " << k << ": " << id;
      }
    }
  }
}

TEST(SamplerTest, SameSeedSameTokens) {
  const std::vector<float> logits = {0, 0, 0, 0, 0, 0, 0, 0};
  const auto draw = [&logits](uint64_t seed) {
    Sampler sampler({.seed = seed}, {}, Kernels());
    std::vector<int32_t> tokens;
    for (int i = 0; i < 32; ++i) tokens.push_back(sampler.Sample(logits));
    return tokens;
  };
  EXPECT_EQ(draw(3), draw(3));
  EXPECT_NE(draw(3), draw(4));
}

TEST(SamplerTest, PenaltiesAndBias) {
  const std::vector<float> logits = {2.0F, 1.9F, -1.0F};
  Sampler repeated({.temperature = 0, .repetition_penalty = 1.5F, .seed = 1},
                   std::vector<int32_t>{0}, Kernels());
  EXPECT_EQ(repeated.Sample(logits), 1);
  Sampler presence({.temperature = 0, .presence_penalty = 0.5F, .seed = 1}, std::vector<int32_t>{0},
                   Kernels());
  EXPECT_EQ(presence.Sample(logits), 0);  // the prompt does not count
  presence.Accept(0);
  EXPECT_EQ(presence.Sample(logits), 1);
  Sampler biased({.temperature = 0, .logit_bias = {{2, 10.0F}, {99, 5.0F}}, .seed = 1}, {},
                 Kernels());
  EXPECT_EQ(biased.Sample(logits), 2);
}

TEST(LogprobTest, IsTheLogSoftmax) {
  const std::vector<float> logits = {std::log(0.5F), std::log(0.25F), std::log(0.25F),
                                     -std::numeric_limits<float>::infinity()};
  const TokenLogprob logprob = ComputeLogprob(logits, 2, 2, Kernels());
  EXPECT_NEAR(logprob.logprob, std::log(0.25F), 1e-6);
  ASSERT_EQ(logprob.top.size(), 2U);
  EXPECT_EQ(logprob.top[0].first, 0);
  EXPECT_EQ(logprob.top[1].first, 1);  // of equals the lower id
  EXPECT_NEAR(logprob.top[0].second, std::log(0.5F), 1e-6);
}

}  // namespace
}  // namespace inhouse::engine
