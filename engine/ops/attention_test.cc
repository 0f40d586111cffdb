#include "engine/ops/attention.h"

#include <cmath>
#include <cstring>
#include <random>
#include <vector>

#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr int kHeads = 6;
constexpr int kKvHeads = 2;
constexpr int kHeadDim = 24;
constexpr int64_t kQ = kHeads * kHeadDim;
constexpr int64_t kKv = kKvHeads * kHeadDim;

// One sequence of random queries, keys and values, and its pages.
struct Fixture {
  KvLayout layout{2, kKvHeads, kHeadDim, DType::kF32};
  int64_t tokens;
  std::vector<float> q, k, v;
  Arena arena;
  std::vector<std::byte*> pages;

  explicit Fixture(int64_t n, DType kv = DType::kF32) : tokens(n) {
    layout.dtype = kv;
    std::mt19937 random(5);
    std::normal_distribution<float> normal;
    for (auto [values, width] : {std::pair{&q, kQ}, {&k, kKv}, {&v, kKv}}) {
      values->resize(static_cast<size_t>(n * width));
      for (float& x : *values) x = normal(random);
    }
    const int64_t count = (n + kPageTokens - 1) / kPageTokens;
    arena = Arena(static_cast<size_t>(count * layout.page_bytes()));
    // What lies beyond the last token must not matter.
    std::memset(arena.data(), 0xFF, arena.size());
    for (int64_t i = 0; i < count; ++i) pages.push_back(arena.data() + i * layout.page_bytes());
  }

  // Feeds the sequence in chunks and returns the outputs [tokens][kQ].
  std::vector<float> Run(const KernelTable& kernels, int threads, int64_t chunk) {
    base::ThreadTeam team(threads);
    OpScratch scratch(threads, 64, AttentionMemberBytes(kHeadDim, kHeads / kKvHeads));
    AttentionScratch partial(SplitRowsMax(layout, kHeads), static_cast<int64_t>(pages.size()),
                             kHeadDim);
    SingleProcess comm;
    std::vector<float> out(static_cast<size_t>(tokens * kQ));
    for (int64_t at = 0; at < tokens; at += chunk) {
      const SequenceSlice slice{pages, at, std::min(chunk, tokens - at), 0};
      const AttentionArguments arguments{.layout = &layout,
                                         .layer = 1,
                                         .heads = kHeads,
                                         .scale = 0.3F,
                                         .sequences = {&slice, 1},
                                         .q = q.data() + at * kQ,
                                         .ldq = kQ,
                                         .out = out.data() + at * kQ,
                                         .ldout = kQ};
      const AttentionPlan plan(arguments.sequences, layout, kHeads);
      team.Run([&](const base::TeamMember& member) {
        OpContext context{member, kernels, scratch, comm};
        StoreKv(context, arguments, k.data() + at * kKv, v.data() + at * kKv, kKv);
        Attention(context, arguments, plan, partial);
      });
    }
    return out;
  }

  double Expected(int64_t token, int head, int i) const {
    const int64_t kv = head / (kHeads / kKvHeads) * kHeadDim;
    double sum = 0;
    double value = 0;
    for (int64_t t = 0; t <= token; ++t) {
      double score = 0;
      for (int j = 0; j < kHeadDim; ++j) {
        score += double{q[static_cast<size_t>(token * kQ + head * kHeadDim + j)]} *
                 double{k[static_cast<size_t>(t * kKv + kv + j)]};
      }
      const double weight = std::exp(score * 0.3);
      sum += weight;
      value += weight * double{v[static_cast<size_t>(t * kKv + kv + i)]};
    }
    return value / sum;
  }
};

class AttentionTest : public testing::TestWithParam<IsaLevel> {};

TEST_P(AttentionTest, EqualsTheDefinition) {
  Fixture f(150);
  const std::vector<float> out = f.Run(*TableFor(GetParam()), 2, 150);
  for (const int64_t token : {0, 1, 63, 64, 65, 149}) {
    for (int head = 0; head < kHeads; ++head) {
      for (const int i : {0, 7, kHeadDim - 1}) {
        ASSERT_NEAR(out[static_cast<size_t>(token * kQ + head * kHeadDim + i)],
                    f.Expected(token, head, i), 2e-5);
      }
    }
  }
}

// 1100 tokens are more than one split (16 pages): whole, chunked and token by token, alone and in a
// team, the same bits.
TEST_P(AttentionTest, ChunksAndThreadsDoNotChangeTheBits) {
  Fixture f(1100);
  const std::vector<float> whole = f.Run(*TableFor(GetParam()), 1, 1100);
  EXPECT_EQ(f.Run(*TableFor(GetParam()), 2, 1), whole);
  EXPECT_EQ(f.Run(*TableFor(GetParam()), 3, 7), whole);
  EXPECT_EQ(f.Run(*TableFor(GetParam()), 2, 300), whole);
  ASSERT_NEAR(whole[static_cast<size_t>(1099 * kQ)], f.Expected(1099, 0, 0), 2e-5);
}

// A key or value is off by half a unit of its last bit: 2^-11 in F16, 2^-8 in BF16, 2^-4 in E4M3,
// relatively. Scores of size up to about 10 sum 24 such errors, a third of the bound in the mean;
// the weights move with them.
TEST_P(AttentionTest, RoundedPagesAreNear) {
  const std::vector<float> exact = Fixture(200).Run(*TableFor(GetParam()), 2, 50);
  for (const auto& [type, tolerance] :
       {std::pair{DType::kF16, 0x1p-8F}, {DType::kBF16, 0x1p-5F}, {DType::kF8E4M3, 0x1p-1F}}) {
    const std::vector<float> rounded = Fixture(200, type).Run(*TableFor(GetParam()), 2, 50);
    float worst = 0;
    for (size_t i = 0; i < exact.size(); ++i) {
      worst = std::max(worst, std::abs(exact[i] - rounded[i]));
    }
    EXPECT_LT(worst, tolerance) << Name(type);
    EXPECT_GT(worst, tolerance / 64) << Name(type) << ": is it rounded at all?";
  }
}

// Every type, cut in every way: the same bits.
TEST_P(AttentionTest, RoundedPagesDoNotDependOnTheCut) {
  for (const DType type : {DType::kF16, DType::kBF16, DType::kF8E4M3}) {
    Fixture f(1100, type);
    const std::vector<float> whole = f.Run(*TableFor(GetParam()), 1, 1100);
    EXPECT_EQ(f.Run(*TableFor(GetParam()), 2, 1), whole) << Name(type);
    EXPECT_EQ(f.Run(*TableFor(GetParam()), 3, 7), whole) << Name(type);
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, AttentionTest, testing::ValuesIn(SupportedLevels()),
                         [](const auto& param) { return std::string(Name(param.param)); });

}  // namespace
}  // namespace inhouse::engine
