#include "engine/kernels/attention/attention.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// One row's running result.
struct Row {
  AttentionState state{-kInfinity, 0};
  std::vector<float> out;
};

bool SameBits(const Row& a, const Row& b) {
  return std::memcmp(&a.state, &b.state, sizeof(a.state)) == 0 &&
         std::memcmp(a.out.data(), b.out.data(), a.out.size() * sizeof(float)) == 0;
}

class AttentionTest : public testing::TestWithParam<std::tuple<IsaLevel, DType>> {
 protected:
  const AttentionKernel& kernel() const {
    const KernelTable& table = *TableFor(std::get<0>(GetParam()));
    return KernelOf(table, type());
  }
  const AttentionKernel& ref() const { return KernelOf(*TableFor(IsaLevel::kRef), type()); }
  DType type() const { return std::get<1>(GetParam()); }

 private:
  static const AttentionKernel& KernelOf(const KernelTable& table, DType type) {
    if (type == DType::kF16) return *table.attention_f16;
    if (type == DType::kBF16) return *table.attention_bf16;
    if (type == DType::kF8E4M3) return *table.attention_e4m3;
    return *table.attention_f32;
  }
};

// One code of a page.
double Decode(DType type, const std::byte* code) {
  float value = 0;
  DequantizeRow(type, code, 1, &value);
  return double{value};
}

// Keys and values of `tokens` tokens in pages whose memory starts as NaN (in every type), off by
// one element from any alignment beyond the element's.
class Pages {
 public:
  Pages(const AttentionKernel& kernel, int head_dim, int tokens, uint32_t seed)
      : head_dim_(head_dim), type_(kernel.kv) {
    std::mt19937 generator(seed);
    std::normal_distribution<float> normal(0.0F, 1.0F);
    const size_t bytes = static_cast<size_t>(KvBlockBytes(type_, head_dim)) + offset();
    for (int t = 0; t < tokens; ++t) {
      if (t % kPageTokens == 0) {
        keys_.emplace_back(bytes, std::byte{0xFF});
        values_.emplace_back(bytes, std::byte{0xFF});
      }
      std::vector<float> key(static_cast<size_t>(head_dim));
      std::vector<float> value(static_cast<size_t>(head_dim));
      for (float& x : key) x = normal(generator);
      for (float& x : value) x = normal(generator);
      kernel.store(key.data(), value.data(), head_dim, t % kPageTokens, k(keys_.size() - 1),
                   v(values_.size() - 1));
    }
  }
  std::byte* k(size_t page) { return keys_[page].data() + offset(); }
  std::byte* v(size_t page) { return values_[page].data() + offset(); }
  double Key(int token, int d) {
    return At(k(static_cast<size_t>(token / kPageTokens)), token % kPageTokens,
              d * kPageTokens + token % kPageTokens);
  }
  double Value(int token, int d) {
    return At(v(static_cast<size_t>(token / kPageTokens)), token % kPageTokens,
              token % kPageTokens * head_dim_ + d);
  }

 private:
  bool scaled() const { return type_ == DType::kF8E4M3; }
  // Floats stand at multiples of their size.
  size_t offset() const {
    return scaled() ? sizeof(float) : static_cast<size_t>(RowBytes(type_, 1));
  }
  double At(const std::byte* block, int token, int index) const {
    if (!scaled()) return Decode(type_, block + RowBytes(type_, index));
    float scale;
    std::memcpy(&scale, block + static_cast<size_t>(token) * sizeof(float), sizeof(float));
    return double{scale} * Decode(type_, block + kPageTokens * sizeof(float) + index);
  }

  int head_dim_;
  DType type_;
  std::vector<std::vector<std::byte>> keys_;
  std::vector<std::vector<std::byte>> values_;
};

struct Query {
  std::vector<float> q;
  int visible = 0;  // of one page
};

std::vector<Query> RandomQueries(int n, int head_dim, uint32_t seed) {
  std::mt19937 generator(seed);
  std::normal_distribution<float> normal(0.0F, 1.0F / std::sqrt(static_cast<float>(head_dim)));
  std::vector<Query> queries(static_cast<size_t>(n));
  for (Query& query : queries) {
    query.q.resize(static_cast<size_t>(head_dim));
    for (float& x : query.q) x = 2 * normal(generator);
    query.visible = static_cast<int>(generator() % (kPageTokens + 1));
  }
  return queries;
}

// Adds a page to all rows in one call. Rows are a few floats further apart than head_dim.
void AddPage(const AttentionKernel& kernel, const std::vector<Query>& queries, std::byte* k,
             std::byte* v, std::vector<Row>& rows) {
  const size_t n = queries.size();
  const size_t head_dim = queries[0].q.size();
  const size_t ldq = head_dim + 3;
  const size_t ldout = head_dim + 5;
  std::vector<float> q(n * ldq, kNan);
  std::vector<float> out(n * ldout, kNan);
  std::vector<int32_t> visible(n);
  std::vector<AttentionState> states(n);
  std::vector<float> scratch_memory(n * kPageTokens + 16);
  auto* scratch = reinterpret_cast<float*>(
      (reinterpret_cast<uintptr_t>(scratch_memory.data()) + 63) & ~uintptr_t{63});
  for (size_t i = 0; i < n; ++i) {
    std::copy(queries[i].q.begin(), queries[i].q.end(),
              q.begin() + static_cast<ptrdiff_t>(i * ldq));
    std::copy(rows[i].out.begin(), rows[i].out.end(),
              out.begin() + static_cast<ptrdiff_t>(i * ldout));
    visible[i] = queries[i].visible;
    states[i] = rows[i].state;
  }
  kernel.add_page({.q = q.data(),
                   .ldq = static_cast<int64_t>(ldq),
                   .visible = visible.data(),
                   .n_queries = static_cast<int>(n),
                   .head_dim = static_cast<int>(head_dim),
                   .k = k,
                   .v = v,
                   .state = states.data(),
                   .out = out.data(),
                   .ldout = static_cast<int64_t>(ldout),
                   .scratch = scratch,
                   .next = nullptr});
  for (size_t i = 0; i < n; ++i) {
    rows[i].state = states[i];
    std::copy_n(out.begin() + static_cast<ptrdiff_t>(i * ldout), head_dim, rows[i].out.begin());
    for (size_t j = head_dim; j < ldout; ++j) {
      ASSERT_TRUE(std::isnan(out[i * ldout + j])) << "wrote beyond the row";
    }
  }
}

std::vector<Row> NewRows(size_t n, int head_dim) {
  Row row;
  row.out.assign(static_cast<size_t>(head_dim), 0.0F);
  return std::vector<Row>(n, row);
}

// The softmax over the first `tokens` tokens in double.
//
// Tolerance: a score is a sum of head_dim products, so its absolute error is at most
// head_dim 2^-24 sum|q k|; an error d of a score is a relative error d of its weight, and weights,
// their sum and the weighted sum add 2^-24 a term and 2e-7 for 2^x and each page's correction. The
// stored numbers are taken as they are, so the types of pages add nothing but one product for a
// scale, and the base 2 nothing but ln 2 < 1.
void ExpectSoftMax(Pages& pages, const Query& query, int tokens, const Row& row) {
  const int head_dim = static_cast<int>(query.q.size());
  std::vector<double> weights(static_cast<size_t>(tokens));
  double max = -std::numeric_limits<double>::infinity();
  double magnitude = 0;
  for (int t = 0; t < tokens; ++t) {
    double score = 0;
    double absolute = 0;
    for (int d = 0; d < head_dim; ++d) {
      const double product = double{query.q[static_cast<size_t>(d)]} * pages.Key(t, d);
      score += product;
      absolute += std::abs(product);
    }
    weights[static_cast<size_t>(t)] = score;
    max = std::max(max, score);
    magnitude = std::max(magnitude, absolute);
  }
  double sum = 0;
  for (double& weight : weights) sum += weight = std::exp2(weight - max);
  const double score_error = head_dim * 0x1p-24 * magnitude;
  const int n_pages = (tokens + kPageTokens - 1) / kPageTokens;
  const double tolerance = 2 * score_error + (tokens + 4) * 0x1p-24 + (n_pages + 1) * 2e-7;
  ASSERT_NEAR(row.state.max, max, score_error + std::abs(max) * 0x1p-23);
  for (int d = 0; d < head_dim; ++d) {
    double expected = 0;
    double absolute = 0;
    for (int t = 0; t < tokens; ++t) {
      const double term = weights[static_cast<size_t>(t)] * pages.Value(t, d);
      expected += term;
      absolute += std::abs(term);
    }
    ASSERT_NEAR(double{row.out[static_cast<size_t>(d)]} / double{row.state.sum}, expected / sum,
                2 * tolerance * absolute / sum)
        << "head_dim " << head_dim << " tokens " << tokens << " d " << d;
  }
}

// What every level stores is what `ref` stores, byte for byte.
TEST_P(AttentionTest, StoresWhatRefStores) {
  std::mt19937 generator(21);
  std::normal_distribution<float> normal(0.0F, 1.0F);
  for (int head_dim = 1; head_dim <= 130; ++head_dim) {
    const auto bytes = static_cast<size_t>(KvBlockBytes(type(), head_dim));
    std::vector<std::byte> k(bytes, std::byte{0xAB});
    std::vector<std::byte> v(bytes, std::byte{0xAB});
    std::vector<std::byte> expected_k = k;
    std::vector<std::byte> expected_v = v;
    std::vector<float> key(static_cast<size_t>(head_dim));
    std::vector<float> value(static_cast<size_t>(head_dim));
    for (size_t d = 0; d < key.size(); ++d) {
      key[d] = normal(generator) * std::ldexp(1.0F, head_dim % 60 - 30);  // subnormal in F16, too
      value[d] = normal(generator) * std::ldexp(1.0F, static_cast<int>(generator() % 20) - 10);
    }
    const int slot = head_dim % kPageTokens;
    kernel().store(key.data(), value.data(), head_dim, slot, k.data(), v.data());
    ref().store(key.data(), value.data(), head_dim, slot, expected_k.data(), expected_v.data());
    ASSERT_EQ(k, expected_k) << head_dim;
    ASSERT_EQ(v, expected_v) << head_dim;
  }
}

// Numbers at the edges of every type, each in a token of its own, and what comes back of them.
TEST_P(AttentionTest, StoresExtremes) {
  const std::vector<float> extremes = {0.0F,     -0.0F,    1.0F,     -1.0F,     65504.0F, 65519.0F,
                                       65520.0F, -1e30F,   3.3e38F,  1e-30F,    1e-40F,   -1e-45F,
                                       255.9F,   0x1.fp7F, 0x1.1p0F, 0x1.0fp0F, 0x1.3p-7F};
  const auto bytes = static_cast<size_t>(KvBlockBytes(type(), 1));
  std::vector<std::byte> k(bytes), v(bytes), expected_k(bytes), expected_v(bytes);
  for (size_t i = 0; i < extremes.size(); ++i) {
    const float x = extremes[i];
    const int slot = static_cast<int>(i);
    kernel().store(&x, &x, 1, slot, k.data(), v.data());
    ref().store(&x, &x, 1, slot, expected_k.data(), expected_v.data());
    const std::byte* code = v.data() + RowBytes(type(), slot);
    double stored = 0;
    if (type() == DType::kF8E4M3) {
      float scale;
      std::memcpy(&scale, v.data() + i * sizeof(float), sizeof(float));
      stored = double{scale} * Decode(type(), code + kPageTokens * sizeof(float));
    } else {
      stored = Decode(type(), code);
    }
    // Half a unit in the last place of 24, 11, 8 or 4 bits, or of the smallest number of all.
    const bool f16 = type() == DType::kF16;
    const double expected = f16 ? std::clamp(double{x}, -65504.0, 65504.0) : double{x};
    const double step = type() == DType::kF32 ? 0 : f16 ? 0x1p-11 : 0x1p-8;
    const double least = f16 ? 0x1p-25 : type() == DType::kF8E4M3 ? 0x1p-136 : 0x1p-134;
    ASSERT_NEAR(
        stored, expected,
        (type() == DType::kF8E4M3 ? 0x1p-4 : step) * std::abs(expected) + (step > 0 ? least : 0))
        << x;
  }
  EXPECT_EQ(k, expected_k);
  EXPECT_EQ(v, expected_v);
}

TEST_P(AttentionTest, EveryHeadDim) {
  for (int head_dim = 1; head_dim <= 130; ++head_dim) {
    Pages pages(kernel(), head_dim, kPageTokens, 1);
    std::vector<Query> queries = RandomQueries(1 + head_dim % 8, head_dim, 2);
    std::vector<Row> rows = NewRows(queries.size(), head_dim);
    AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
    for (size_t i = 0; i < queries.size(); ++i) {
      if (queries[i].visible > 0) ExpectSoftMax(pages, queries[i], queries[i].visible, rows[i]);
    }
  }
  for (const int head_dim : {160, 192, 256, 576}) {
    Pages pages(kernel(), head_dim, kPageTokens, 1);
    std::vector<Query> queries = RandomQueries(7, head_dim, 2);
    std::vector<Row> rows = NewRows(queries.size(), head_dim);
    AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
    for (size_t i = 0; i < queries.size(); ++i) {
      if (queries[i].visible > 0) ExpectSoftMax(pages, queries[i], queries[i].visible, rows[i]);
    }
  }
}

// What lies beyond the visible tokens is NaN here (Pages), and must not show.
TEST_P(AttentionTest, EveryVisibleCountAndUninitialisedRest) {
  for (int tokens = 1; tokens <= kPageTokens; ++tokens) {
    for (const int head_dim : {20, 64}) {
      Pages pages(kernel(), head_dim, tokens, 3);
      std::vector<Query> queries = RandomQueries(3, head_dim, 4);
      for (Query& query : queries) query.visible = tokens;
      queries[1].visible = tokens - 1;
      std::vector<Row> rows = NewRows(queries.size(), head_dim);
      AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
      ExpectSoftMax(pages, queries[0], tokens, rows[0]);
      ExpectSoftMax(pages, queries[2], tokens, rows[2]);
      if (tokens > 1) ExpectSoftMax(pages, queries[1], tokens - 1, rows[1]);
    }
  }
}

TEST_P(AttentionTest, InvisiblePageLeavesTheRowUntouched) {
  const int head_dim = 48;
  Pages pages(kernel(), head_dim, 1, 5);
  std::vector<Query> queries = RandomQueries(9, head_dim, 6);
  for (Query& query : queries) query.visible = 0;
  std::vector<Row> rows = NewRows(queries.size(), head_dim);
  rows[3].state = {1.5F, 2.5F};
  rows[3].out[7] = -0.0F;
  const std::vector<Row> before = rows;
  AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
  queries[4].visible = 1;  // among rows that see something, too
  AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == 4) continue;
    EXPECT_TRUE(SameBits(rows[i], before[i])) << i;
  }
  ExpectSoftMax(pages, queries[4], 1, rows[4]);
}

TEST_P(AttentionTest, ManyPages) {
  const int head_dim = 80;
  const int tokens = 5 * kPageTokens + 17;
  Pages pages(kernel(), head_dim, tokens, 7);
  std::vector<Query> queries = RandomQueries(5, head_dim, 8);
  for (float& x : queries[2].q) x *= 20.0F;  // a peaked row: the maximum moves between pages
  std::vector<Row> rows = NewRows(queries.size(), head_dim);
  for (int page = 0; page * kPageTokens < tokens; ++page) {
    for (Query& query : queries) query.visible = std::min(kPageTokens, tokens - page * kPageTokens);
    AddPage(kernel(), queries, pages.k(static_cast<size_t>(page)),
            pages.v(static_cast<size_t>(page)), rows);
  }
  for (size_t i = 0; i < queries.size(); ++i) ExpectSoftMax(pages, queries[i], tokens, rows[i]);
}

// A row alone, and the same row in calls of 2..40 rows with other neighbours at other places.
TEST_P(AttentionTest, RowDoesNotDependOnTheOthers) {
  for (const int head_dim : {24, 64, 100, 128}) {
    Pages pages(kernel(), head_dim, 2 * kPageTokens, 9);
    const std::vector<Query> all = RandomQueries(40, head_dim, 10);
    std::vector<Row> alone = NewRows(all.size(), head_dim);
    for (size_t i = 0; i < all.size(); ++i) {
      for (size_t page = 0; page < 2; ++page) {
        std::vector<Row> one = {alone[i]};
        AddPage(kernel(), {all[i]}, pages.k(page), pages.v(page), one);
        alone[i] = one[0];
      }
    }
    for (size_t n = 2; n <= all.size(); ++n) {
      std::vector<Query> queries;
      const size_t first = n % 7;
      for (size_t i = 0; i < n; ++i) queries.push_back(all[(first + i) % all.size()]);
      std::vector<Row> rows = NewRows(n, head_dim);
      for (size_t page = 0; page < 2; ++page) {
        AddPage(kernel(), queries, pages.k(page), pages.v(page), rows);
      }
      for (size_t i = 0; i < n; ++i) {
        ASSERT_TRUE(SameBits(rows[i], alone[(first + i) % all.size()])) << n << " " << i;
      }
    }
  }
}

// A neighbour that sees a NaN or an infinity spoils itself only.
TEST_P(AttentionTest, PoisonedNeighbour) {
  const int head_dim = 32;
  Pages pages(kernel(), head_dim, kPageTokens, 11);
  std::vector<Query> queries = RandomQueries(6, head_dim, 12);
  for (Query& query : queries) query.visible = 20;
  std::vector<Row> clean = NewRows(queries.size(), head_dim);
  AddPage(kernel(), queries, pages.k(0), pages.v(0), clean);
  const std::vector<float> poison(static_cast<size_t>(head_dim), kInfinity);
  kernel().store(poison.data(), poison.data(), head_dim, 20, pages.k(0), pages.v(0));
  queries[2].visible = 21;
  std::vector<Row> rows = NewRows(queries.size(), head_dim);
  AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
  for (size_t i = 0; i < rows.size(); ++i) {
    if (i == 2) continue;
    EXPECT_TRUE(SameBits(rows[i], clean[i])) << i;
  }
  EXPECT_FALSE(std::isfinite(rows[2].out[0]));
}

TEST_P(AttentionTest, ExtremeScores) {
  const int head_dim = 16;
  Pages pages(kernel(), head_dim, kPageTokens, 13);
  std::vector<Query> queries = RandomQueries(4, head_dim, 14);
  for (Query& query : queries) query.visible = kPageTokens;
  for (float& x : queries[0].q) x *= 1e4F;  // weights underflow to zero
  for (float& x : queries[1].q) x = 0.0F;   // all weights equal
  for (float& x : queries[2].q) x = kNan;   // stays NaN
  queries[3].q.assign(queries[3].q.size(), 0.0F);
  std::vector<Row> rows = NewRows(queries.size(), head_dim);
  AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
  ASSERT_TRUE(std::isfinite(rows[0].state.sum));
  EXPECT_GE(rows[0].state.sum, 1.0F);
  ExpectSoftMax(pages, queries[1], kPageTokens, rows[1]);
  EXPECT_TRUE(std::isnan(rows[2].state.sum));
  EXPECT_TRUE(std::isnan(rows[2].out[0]));
}

// Scores of -inf have no weight, and no NaN comes of a row that has only such scores so far.
TEST_P(AttentionTest, ScoresOfMinusInfinity) {
  if (type() == DType::kF8E4M3) GTEST_SKIP() << "a token with an infinity is stored as NaN";
  const int head_dim = 16;
  Pages pages(kernel(), head_dim, kPageTokens, 15);
  std::vector<float> key(16, 0.0F);
  const std::vector<float> value(16, 1.0F);
  key[0] = -kInfinity;
  for (int t = 0; t < 10; ++t) {
    kernel().store(key.data(), value.data(), head_dim, t, pages.k(0), pages.v(0));
  }
  std::vector<Query> queries = RandomQueries(2, head_dim, 16);
  queries[0].q[0] = 1.0F;
  queries[0].visible = 10;
  queries[1].q[0] = 1.0F;
  queries[1].visible = 12;
  std::vector<Row> rows = NewRows(2, head_dim);
  AddPage(kernel(), queries, pages.k(0), pages.v(0), rows);
  EXPECT_EQ(rows[0].state.max, -kInfinity);
  EXPECT_EQ(rows[0].state.sum, 0.0F);
  for (const float x : rows[0].out) EXPECT_EQ(x, 0.0F);
  EXPECT_TRUE(std::isfinite(rows[1].state.max));
  EXPECT_GE(rows[1].state.sum, 1.0F);
  queries[0].visible = 12;
  AddPage(kernel(), {queries[0]}, pages.k(0), pages.v(0), rows);
  EXPECT_GE(rows[0].state.sum, 1.0F);
  for (const float x : rows[0].out) EXPECT_TRUE(std::isfinite(x));
}

INSTANTIATE_TEST_SUITE_P(Levels, AttentionTest,
                         testing::Combine(testing::ValuesIn(SupportedLevels()),
                                          testing::Values(DType::kF32, DType::kF16, DType::kBF16,
                                                          DType::kF8E4M3)),
                         [](const auto& info) {
                           return std::string(Name(std::get<0>(info.param))) + "_" +
                                  std::string(Name(std::get<1>(info.param)));
                         });

}  // namespace
}  // namespace inhouse::engine
