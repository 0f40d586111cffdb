// The limit arithmetic of `inhouse bench`, on figures that can be checked by hand.
#include "apps/inhouse/bench/phase.h"

#include "gtest/gtest.h"

namespace inhouse::apps {
namespace {

// 100 MB and 200 Mop of int8 products, 50 MB and 60 Mop of a BF16 head; 1000 bytes of cache a
// token.
engine::ModelInfo Model() {
  engine::ModelInfo model;
  model.products = {{engine::OpClass::kQkv, 40'000'000, 80'000'000, "int8"},
                    {engine::OpClass::kDown, 60'000'000, 120'000'000, "int8"},
                    {engine::OpClass::kHead, 50'000'000, 60'000'000, "bf16"}};
  model.bytes.weights = 150'000'000;
  model.bytes.kv_per_token = 1000;
  model.bytes.kv = 10'000'000;
  model.context_tokens = 4000;
  model.model_context_tokens = 5000;
  return model;
}

constexpr engine::MachineLimits kLimits{.memory_read_gb_s = 10, .dot_gop_s = {100, 200, 400, 800}};

TEST(PhaseTest, DecodeReadsWeightsOnceAndEveryCache) {
  const Cost cost = CostOf(Model(), {Phase::Kind::kDecode, 100, 4, 1000}, 512);
  EXPECT_DOUBLE_EQ(cost.tokens, 4);
  EXPECT_DOUBLE_EQ(cost.bytes, 150e6 + 4 * 1050 * 1000.0);
  EXPECT_DOUBLE_EQ(cost.dot_ops[2], 4 * 200e6);
  EXPECT_DOUBLE_EQ(cost.dot_ops[1], 4 * 60e6);
  EXPECT_DOUBLE_EQ(cost.dot_ops[0], 0);
}

TEST(PhaseTest, PrefillComputesTheHeadOnceAndReadsTheRestForEachChunk) {
  const Cost cost = CostOf(Model(), {Phase::Kind::kPrefill, 600, 1, 0}, 512);
  EXPECT_DOUBLE_EQ(cost.tokens, 600);
  EXPECT_DOUBLE_EQ(cost.bytes, 2 * 100e6 + 50e6);
  EXPECT_DOUBLE_EQ(cost.dot_ops[2], 600 * 200e6);
  EXPECT_DOUBLE_EQ(cost.dot_ops[1], 60e6);
}

TEST(PhaseTest, TheSlowerOfMemoryAndArithmeticIsTheLimit) {
  const Cost one = CostOf(Model(), {Phase::Kind::kDecode, 2, 1, 0}, 512);
  EXPECT_NEAR(MemorySeconds(one, kLimits), 0.0150001, 1e-9);
  EXPECT_NEAR(ArithmeticSeconds(one, kLimits), 200e6 / 400e9 + 60e6 / 200e9, 1e-12);
  EXPECT_DOUBLE_EQ(LimitSeconds(one, kLimits), MemorySeconds(one, kLimits));
  const Cost many = CostOf(Model(), {Phase::Kind::kDecode, 2, 32, 0}, 512);
  EXPECT_DOUBLE_EQ(LimitSeconds(many, kLimits), ArithmeticSeconds(many, kLimits));
  EXPECT_NEAR(ArithmeticSeconds(many, kLimits), 32 * 0.0008, 1e-12);
}

TEST(PhaseTest, KernelsAddUpToTheStep) {
  const engine::ModelInfo model = Model();
  const Phase phase{Phase::Kind::kDecode, 100, 4, 1000};
  const int64_t steps = 7;
  Cost sum;
  for (size_t i = 0; i < engine::kOpClasses; ++i) {
    const Cost cost = CostOf(model, static_cast<engine::OpClass>(i), phase, steps, steps * 4);
    sum.bytes += cost.bytes;
    sum.dot_ops[2] += cost.dot_ops[2];
    sum.dot_ops[1] += cost.dot_ops[1];
  }
  const Cost whole = CostOf(model, phase, 512);
  EXPECT_DOUBLE_EQ(sum.bytes, steps * whole.bytes);
  EXPECT_DOUBLE_EQ(sum.dot_ops[2], steps * whole.dot_ops[2]);
  EXPECT_DOUBLE_EQ(sum.dot_ops[1], steps * whole.dot_ops[1]);
}

TEST(PhaseTest, SaysWhatDoesNotFit) {
  EXPECT_EQ(WhyNot(Model(), {Phase::Kind::kDecode, 99, 4, 900}), "");
  EXPECT_NE(WhyNot(Model(), {Phase::Kind::kDecode, 99, 11, 900}).find("the cache needs"),
            std::string::npos);
  EXPECT_NE(WhyNot(Model(), {Phase::Kind::kDecode, 1000, 1, 4500}).find("context has 5000"),
            std::string::npos);
}

TEST(PhaseTest, MedianOfSamplesIsTakenMemberByMember) {
  const engine::MachineLimits median =
      engine::MedianOf({{10, {1, 5, 7, 1}}, {30, {2, 4, 8, 1}}, {20, {3, 6, 9, 1}}});
  EXPECT_DOUBLE_EQ(median.memory_read_gb_s, 20);
  EXPECT_DOUBLE_EQ(median.dot_gop_s[0], 2);
  EXPECT_DOUBLE_EQ(median.dot_gop_s[1], 5);
  EXPECT_DOUBLE_EQ(median.dot_gop_s[2], 8);
  EXPECT_DOUBLE_EQ(Median({4, 1, 3, 2}), 2.5);
  EXPECT_DOUBLE_EQ(Median({}), 0);
}

TEST(PhaseTest, AProbeMeasuresSomethingPositive) {
  engine::LimitsProbe probe(1, engine::IsaLevel::kRef);
  const engine::MachineLimits sample = probe.Sample();
  EXPECT_GT(sample.memory_read_gb_s, 0);
  for (const double gop_s : sample.dot_gop_s) EXPECT_GT(gop_s, 0);
  EXPECT_GT(probe.buffer_bytes(), 0);
}

}  // namespace
}  // namespace inhouse::apps
