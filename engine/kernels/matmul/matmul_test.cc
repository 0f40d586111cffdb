// Every weight type at every level that this machine has, against double. The activations are
// rounded as the kernel's layout says before the comparison, so that what is left is the rounding
// of float32 sums and a wrong code, scale or column shows at once; rounding_test below bounds what
// the layouts themselves lose.
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <tuple>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/kernels/matmul/test_weights.h"
#include "engine/tensor/arena.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr float kCanary = -987.25F;

// The numbers of activation rows that a case is checked with: all of them, or under emulation,
// which is much slower, one after the other as `turn` counts up (CMakeLists.txt).
std::vector<int64_t> RowCounts(std::vector<int64_t> all, int64_t turn) {
#if defined(INHOUSE_TESTS_EMULATED)
  return {all[static_cast<size_t>(turn) % all.size()]};
#else
  static_cast<void>(turn);
  return all;
#endif
}

// x as the kernel's layout rounds it.
std::vector<double> Rounded(const MatMulKernel& kernel, int64_t k, const std::vector<float>& x) {
  std::vector<double> rounded(x.begin(), x.end());
  float codes = 0;
  int64_t group = 32;
  switch (kernel.activations) {
    case ActivationLayout::kF32:
      return rounded;
    case ActivationLayout::kBF16Pairs:
      for (double& v : rounded) v = FromBF16(ToBF16(static_cast<float>(v)));
      return rounded;
    case ActivationLayout::kI16Groups128:
      group = 128;
      [[fallthrough]];
    case ActivationLayout::kI16Groups32:
      codes = 32512;
      break;
    case ActivationLayout::kI8Groups128:
      group = 128;
      [[fallthrough]];
    case ActivationLayout::kI8Groups32:
      codes = 127;
      break;
  }
  const auto size = static_cast<int64_t>(x.size());
  for (int64_t row = 0; row < size; row += k) {
    for (int64_t at = row; at < row + k; at += group) {
      const auto begin = static_cast<size_t>(at);
      const auto end = static_cast<size_t>(std::min(at + group, row + k));
      float max = 0;
      for (size_t i = begin; i < end; ++i) max = std::max(max, std::abs(x[i]));
      const float inverse = max > 0 ? codes / max : 0.0F;
      const float scale = max / codes;
      for (size_t i = begin; i < end; ++i) {
        rounded[i] = double{scale} * double{std::nearbyint(x[i] * inverse)};
      }
    }
  }
  return rounded;
}

// One panel, its rows at odd addresses.
class Panel {
 public:
  Panel(const MatMulKernel& kernel, const std::vector<std::byte>& weights, int n_rows, int64_t k)
      : kernel_(kernel),
        n_rows_(n_rows),
        k_(k),
        panel_(static_cast<size_t>(kernel.panel_bytes(k))),
        scratch_(static_cast<size_t>(std::max<int64_t>(64, kernel.scratch_bytes(k)))) {
    EXPECT_EQ(kernel.panel_bytes(k) % 64, 0);
    EXPECT_EQ(kernel.strip_bytes(k) % 64, 0);
    std::vector<std::byte> shifted(weights.size() + 1);
    std::copy(weights.begin(), weights.end(), shifted.begin() + 1);
    std::vector<const std::byte*> rows;
    for (int i = 0; i < n_rows; ++i) {
      rows.push_back(shifted.data() + 1 + i * RowBytes(kernel.weights, k));
    }
    std::memset(panel_.data(), 0xFF, panel_.size());
    std::memset(scratch_.data(), 0xFF, scratch_.size());
    kernel.pack_panel(rows.data(), n_rows, k, panel_.data());
  }

  // y [m][n_rows] for x [m][k]; x and y are aligned to floats only, and have gaps between rows.
  std::vector<float> Times(const std::vector<float>& x) const {
    const int64_t m = static_cast<int64_t>(x.size()) / k_;
    const int64_t ldx = k_ + 5;
    const int64_t ldy = n_rows_ + 3;
    std::vector<float> padded_x(static_cast<size_t>(m * ldx + 1),
                                std::numeric_limits<float>::quiet_NaN());
    for (int64_t i = 0; i < m; ++i) {
      std::copy_n(x.begin() + i * k_, k_, padded_x.begin() + 1 + i * ldx);
    }
    const int64_t strips = (m + kernel_.strip_rows - 1) / kernel_.strip_rows;
    const Arena packed(static_cast<size_t>(strips * kernel_.strip_bytes(k_)));
    std::memset(packed.data(), 0xFF, packed.size());
    for (int64_t m0 = 0; m0 < m; m0 += kernel_.strip_rows) {
      kernel_.pack_strip(padded_x.data() + 1, ldx, m0,
                         std::min<int64_t>(m, m0 + kernel_.strip_rows), m, k_, packed.data());
    }
    std::vector<float> padded_y(static_cast<size_t>(m * ldy + 1), kCanary);
    kernel_.run({.panel = panel_.data(),
                 .x = packed.data(),
                 .m = m,
                 .k = k_,
                 .n_rows = n_rows_,
                 .y = padded_y.data() + 1,
                 .ldy = ldy,
                 .scratch = scratch_.data()});
    EXPECT_EQ(padded_y[0], kCanary) << "wrote before the first row";
    std::vector<float> y;
    for (int64_t i = 0; i < m; ++i) {
      const float* row = padded_y.data() + 1 + i * ldy;
      y.insert(y.end(), row, row + n_rows_);
      for (int j = 0; j < 3; ++j) EXPECT_EQ(row[n_rows_ + j], kCanary) << "wrote beyond a row";
    }
    return y;
  }

 private:
  const MatMulKernel& kernel_;
  int n_rows_;
  int64_t k_;
  Arena panel_;
  Arena scratch_;
};

// The most that d q and the minimum can be together in the group of column i, 0 for types without
// stored float32 minima.
double ScaleAndMinimum(DType type, const std::byte* row, size_t i) {
  if (FloatFields(type).size() != 2) return 0;
  const DTypeInfo& info = Info(type);
  const std::byte* block =
      row + i / static_cast<size_t>(info.block_elements) * static_cast<size_t>(info.block_bytes);
  float fields[2];
  std::memcpy(fields, block, sizeof(fields));
  return 15 * std::abs(double{fields[0]}) + std::abs(double{fields[1]});
}

// Tolerance. Let S be the sum of |w x| over the row. A float chain of n steps errs by at most
// n 2^-24 S. Plain types have k steps. Group types have exact sums and up to four steps per 32
// columns (two halves, a minimum), where d q and the minimum can each be three times as large as
// the largest weight of their group, and four more roundings of scales. A group that a row ends
// inside may hold one weight, in which the two cancel: there they are taken as they are stored.
// performance.md 6 measures a tenth of these bounds; a wrong code is a thousand times larger.
void ExpectProduct(const MatMulKernel& kernel, const std::vector<std::byte>& weights, int n_rows,
                   int64_t k, const std::vector<float>& x, const std::vector<float>& y) {
  const std::vector<double> rounded = Rounded(kernel, k, x);
  const bool groups = Info(kernel.weights).block_elements >= 32 && !IsFp8Group(kernel.weights);
  const double steps = kernel.activations == ActivationLayout::kF32 || !groups
                           ? static_cast<double>(k) + 2
                           : static_cast<double>(k) / 8 + 8;
  for (int n = 0; n < n_rows; ++n) {
    std::vector<float> w(static_cast<size_t>(k));
    const std::byte* row = weights.data() + n * RowBytes(kernel.weights, k);
    DequantizeRow(kernel.weights, row, k, w.data());
    std::vector<double> size(w.begin(), w.end());
    for (size_t i = 0; groups && i < w.size(); ++i) {
      double max = 0;
      for (size_t j = i / 32 * 32; j < std::min(w.size(), i / 32 * 32 + 32); ++j) {
        max = std::max(max, std::abs(double{w[j]}));
      }
      size[i] = std::max(3 * max, ScaleAndMinimum(kernel.weights, row, i));
    }
    for (int64_t m = 0; m < static_cast<int64_t>(x.size()) / k; ++m) {
      double expected = 0;
      double magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double value = rounded[static_cast<size_t>(m * k + i)];
        expected += double{w[static_cast<size_t>(i)]} * value;
        magnitude += std::abs(size[static_cast<size_t>(i)] * value);
      }
      ASSERT_NEAR(y[static_cast<size_t>(m * n_rows + n)], expected,
                  steps * (0x1p-24 * magnitude + 0x1p-126))
          << kernel.name << " k " << k << " row " << n << " m " << m;
    }
  }
}

class MatMulTest : public testing::TestWithParam<std::tuple<IsaLevel, DType, ActivationBits>> {
 protected:
  void SetUp() override {
    const KernelTable& table = *TableFor(std::get<0>(GetParam()));
    if (std::get<2>(GetParam()) == ActivationBits::k8 &&
        table.matmul(type(), ActivationBits::k8) == table.matmul(type())) {
      GTEST_SKIP() << "the same kernel serves 16 and 8 bits";
    }
  }
  const MatMulKernel& kernel() const {
    return *TableFor(std::get<0>(GetParam()))->matmul(type(), std::get<2>(GetParam()));
  }
  DType type() const { return std::get<1>(GetParam()); }
  int block() const { return Info(type()).block_elements; }
  void Check(int n_rows, int64_t k, int64_t m, float w_size, float x_size, std::mt19937& rng) {
    const std::vector<std::byte> weights = RandomWeights(type(), n_rows, k, w_size, rng);
    const std::vector<float> x = RandomActivations(m * k, x_size, rng);
    ExpectProduct(kernel(), weights, n_rows, k, x, Panel(kernel(), weights, n_rows, k).Times(x));
  }
};

TEST_P(MatMulTest, EveryTailOfColumns) {
  std::mt19937 rng(1);
  std::vector<int64_t> lengths;
  for (int64_t i = 1; i <= (block() <= 2 ? 130 / block() : 9); ++i) lengths.push_back(i * block());
  for (const int64_t k : {384, 770, 2304, 3104})
    lengths.push_back((k + block() - 1) / block() * block());
  if (Info(type()).ragged) {
    for (int64_t k = 1; k <= 130; ++k) lengths.push_back(k);
    for (const int64_t k : {576, 801, 1337}) lengths.push_back(k);
  }
  int n_rows = 0;
  int64_t turn = 0;
  for (const int64_t k : lengths) {
    n_rows = n_rows % 32 + 1;
    for (const int64_t m : RowCounts({1, 5, 20}, turn++)) Check(n_rows, k, m, 0.02F, 1.0F, rng);
  }
}

TEST_P(MatMulTest, EveryNumberOfRows) {
  std::mt19937 rng(2);
  const int64_t k = std::max(block(), 64);
  for (int n_rows = 1; n_rows <= 32; ++n_rows) {
    for (const int64_t m : RowCounts({1, 3, 13}, n_rows)) Check(n_rows, k, m, 0.02F, 1.0F, rng);
  }
}

TEST_P(MatMulTest, RowHasTheSameBitsInEveryBatch) {
  std::mt19937 rng(3);
  const int64_t k = 512 + std::max(block(), 32);
  constexpr int64_t kOutputs = 29;
  constexpr int64_t kDistinct = 80;
  const std::vector<std::byte> weights = RandomWeights(type(), kOutputs, k, 0.02F, rng);
  const Panel panel(kernel(), weights, kOutputs, k);
  const std::vector<float> x = RandomActivations(kDistinct * k, 1.0F, rng);
  std::vector<float> alone;
  for (int64_t m = 0; m < kDistinct; ++m) {
    const std::vector<float> y =
        panel.Times(std::vector<float>(x.begin() + m * k, x.begin() + (m + 1) * k));
    alone.insert(alone.end(), y.begin(), y.end());
  }
  ExpectProduct(kernel(), weights, kOutputs, k, x, alone);
  std::vector<int64_t> batches(33);
  for (size_t i = 0; i < batches.size(); ++i) batches[i] = static_cast<int64_t>(i) + 1;
  // More than what a level decodes at a time for: 530 rows.
  for (const int64_t m : RowCounts({64, kDistinct, 530}, 0)) batches.push_back(m);
  for (const int64_t m : batches) {
    for (const int64_t first : {int64_t{0}, std::max<int64_t>(kDistinct - m, 7)}) {
      std::vector<float> some;
      std::vector<float> expected;
      for (int64_t i = first; i < first + m; ++i) {
        const int64_t row = i % kDistinct;
        some.insert(some.end(), x.begin() + row * k, x.begin() + (row + 1) * k);
        expected.insert(expected.end(), alone.begin() + row * kOutputs,
                        alone.begin() + (row + 1) * kOutputs);
      }
      const std::vector<float> y = panel.Times(some);
      ASSERT_EQ(std::memcmp(y.data(), expected.data(), y.size() * sizeof(float)), 0)
          << m << " rows from " << first;
    }
  }
}

// Every FP8 code, NaN and infinity included, alone in its row: the product with one is its value.
TEST_P(MatMulTest, EveryFp8CodeIsExact) {
  const bool plain = type() == DType::kF8E4M3 || type() == DType::kF8E5M2;
  if (!plain && !IsFp8Group(type())) GTEST_SKIP() << "no FP8";
  const int code_at = plain ? 0 : 4;
  const int64_t k = 160;  // ends inside a group of 128
  const int64_t row_bytes = RowBytes(type(), k);
  const float one = 1;
  for (const int64_t column : {0, 1, 30, 77, 159}) {
    for (int first = 0; first < 256; first += 32) {
      std::vector<std::byte> weights(static_cast<size_t>(32 * row_bytes));
      for (int i = 0; i < 32; ++i) {
        std::byte* row = weights.data() + i * row_bytes;
        std::byte* block_at = row + column / block() * Info(type()).block_bytes;
        for (const int field : FloatFields(type())) std::memcpy(block_at + field, &one, 4);
        block_at[column % block() + code_at] = static_cast<std::byte>(first + i);
      }
      const Panel panel(kernel(), weights, 32, k);
      for (const int64_t m : {1, 7, 19}) {  // as stored, and expanded for many rows
        std::vector<float> x(static_cast<size_t>(m * k));
        for (int64_t r = 0; r < m; ++r) x[static_cast<size_t>(r * k + column)] = 1;
        const std::vector<float> y = panel.Times(x);
        for (size_t at = 0; at < y.size(); ++at) {
          std::vector<float> w(static_cast<size_t>(k));
          DequantizeRow(type(), weights.data() + static_cast<int64_t>(at % 32) * row_bytes, k,
                        w.data());
          const float expected = w[static_cast<size_t>(column)];
          if (std::isnan(expected)) {
            EXPECT_TRUE(std::isnan(y[at])) << first + static_cast<int>(at % 32);
          } else {
            EXPECT_EQ(y[at], expected) << first + static_cast<int>(at % 32);
          }
        }
      }
    }
  }
}

// All codes and activations at their limits and of one sign: where narrow sums would saturate.
TEST_P(MatMulTest, ExtremeCodesDoNotSaturate) {
  if (block() < 32 || IsFp8Group(type())) GTEST_SKIP() << "no integer codes";
  std::mt19937 rng(4);
  const int64_t k = 2 * std::max(block(), 64);
  for (const int pattern : {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0, 0x55, 0xAA}) {
    for (const float value : {1.0F, -1.0F}) {
      std::vector<std::byte> weights(static_cast<size_t>(RowBytes(type(), 8 * k)),
                                     static_cast<std::byte>(pattern));
      for (size_t at = 0; at < weights.size();
           at += static_cast<size_t>(Info(type()).block_bytes)) {
        for (const int field : HalfFields(type())) {
          const uint16_t one = 0x3C00;
          std::memcpy(weights.data() + at + static_cast<size_t>(field), &one, sizeof(one));
        }
        for (const int field : FloatFields(type())) {
          const float one = 1;
          std::memcpy(weights.data() + at + static_cast<size_t>(field), &one, sizeof(one));
        }
        if (type() == DType::kMXFP4) weights[at] = std::byte{127};
      }
      for (const int64_t m : {1, 9, 19}) {
        const std::vector<float> x(static_cast<size_t>(m * k), value);
        ExpectProduct(kernel(), weights, 8, k, x, Panel(kernel(), weights, 8, k).Times(x));
      }
    }
  }
}

TEST_P(MatMulTest, ExtremeScales) {
  std::mt19937 rng(5);
  const int64_t k = 2 * std::max(block(), 64);
  for (const float w_size : {6e-7F, 1e-4F, 8e3F}) {  // the first: subnormal F16 scales
    for (const float x_size : {1e-25F, 1e-3F, 1e25F}) {
      for (const int64_t m : {2, 20}) Check(7, k, m, w_size, x_size, rng);
    }
  }
}

// An Inf or NaN among the activations spoils its own row of y and no other.
TEST_P(MatMulTest, BadActivationsSpoilTheirRowOnly) {
  std::mt19937 rng(6);
  const int64_t k = 2 * std::max(block(), 64);
  const std::vector<std::byte> weights = RandomWeights(type(), 32, k, 0.02F, rng);
  const Panel panel(kernel(), weights, 32, k);
  for (const int64_t rows : {int64_t{1}, int64_t{4}, int64_t{9}, int64_t{27}}) {
    std::vector<float> x = RandomActivations(rows * k, 1.0F, rng);
    const std::vector<float> clean = panel.Times(x);
    const int64_t nan_row = rows - 1;
    x[static_cast<size_t>(nan_row * k + 5)] = std::numeric_limits<float>::quiet_NaN();
    if (rows > 1) x[40] = std::numeric_limits<float>::infinity();
    const std::vector<float> y = panel.Times(x);
    for (int64_t i = 0; i < rows * 32; ++i) {
      const auto at = static_cast<size_t>(i);
      if (i / 32 == nan_row) {
        EXPECT_TRUE(std::isnan(y[at]));
      } else if (i / 32 != 0) {
        EXPECT_EQ(y[at], clean[at]);
      } else if (std::isfinite(y[at])) {  // the weight at the Inf was zero, or rounds to it
        ADD_FAILURE() << "finite product with an infinite activation, row of weights " << i % 32;
      }
    }
  }
}

// The last row of a file ends where its map ends: a packer that reads behind it ends the process.
TEST_P(MatMulTest, PackingReadsNothingBehindTheRows) {
  std::mt19937 rng(9);
  const auto page = static_cast<size_t>(sysconf(_SC_PAGESIZE));
  const int64_t unit = Info(type()).ragged ? 1 : block();
  for (const int64_t k : {unit, 3 * unit, (int64_t{800} + unit) / unit * unit}) {
    for (const int n_rows : {1, 3, 32}) {
      const std::vector<std::byte> weights = RandomWeights(type(), n_rows, k, 0.02F, rng);
      const size_t pages = (weights.size() + page - 1) / page * page;
      auto* memory = static_cast<std::byte*>(
          mmap(nullptr, pages + page, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
      ASSERT_NE(memory, MAP_FAILED);
      ASSERT_EQ(mprotect(memory + pages, page, PROT_NONE), 0);
      std::byte* first = memory + pages - weights.size();
      std::copy(weights.begin(), weights.end(), first);
      std::vector<const std::byte*> rows;
      for (int i = 0; i < n_rows; ++i) rows.push_back(first + i * RowBytes(type(), k));
      const auto bytes = static_cast<size_t>(kernel().panel_bytes(k));
      const Arena guarded(bytes);
      const Arena plain(bytes);
      kernel().pack_panel(rows.data(), n_rows, k, guarded.data());
      for (int i = 0; i < n_rows; ++i) {
        rows[static_cast<size_t>(i)] = weights.data() + i * RowBytes(type(), k);
      }
      kernel().pack_panel(rows.data(), n_rows, k, plain.data());
      EXPECT_EQ(std::memcmp(guarded.data(), plain.data(), bytes), 0);
      munmap(memory, pages + page);
    }
  }
}

TEST_P(MatMulTest, ZeroAndSubnormalActivations) {
  std::mt19937 rng(7);
  const int64_t k = 2 * std::max(block(), 64);
  const std::vector<std::byte> weights = RandomWeights(type(), 32, k, 0.02F, rng);
  const Panel panel(kernel(), weights, 32, k);
  for (const float value : {0.0F, -0.0F, 1e-44F, 1e-40F, -1e-38F}) {
    for (const int64_t m : {1, 7}) {
      const std::vector<float> x(static_cast<size_t>(m * k), value);
      for (const float y : panel.Times(x)) EXPECT_NEAR(y, 0.0F, value == 0.0F ? 0.0F : 1e-30F);
    }
  }
}

// What the layouts lose, against exact activations: performance.md 6 for normal x. BF16 2^-9 per
// element and random, 1.7e-3 in the mean; int8 groups 5.5e-3; int16 groups 2.2e-5.
TEST_P(MatMulTest, RoundingOfActivationsIsBounded) {
  std::mt19937 rng(8);
  const int64_t k = 2048;
  const std::vector<std::byte> weights = RandomWeights(type(), 32, k, 0.02F, rng);
  const std::vector<float> x = RandomActivations(8 * k, 1.0F, rng);
  const std::vector<float> fast = Panel(kernel(), weights, 32, k).Times(x);
  const MatMulKernel& ref = *TableFor(IsaLevel::kRef)->matmul(type());
  const std::vector<float> exact = Panel(ref, weights, 32, k).Times(x);
  double error = 0;
  double size = 0;
  for (size_t i = 0; i < exact.size(); ++i) {
    error += std::pow(double{fast[i]} - double{exact[i]}, 2);
    size += std::pow(double{exact[i]}, 2);
  }
  const double bounds[] = {2e-6, 4e-3, 1e-4, 2e-4, 2e-2, 2e-2};  // by ActivationLayout
  EXPECT_LT(std::sqrt(error / size), bounds[static_cast<size_t>(kernel().activations)]);
}

INSTANTIATE_TEST_SUITE_P(
    Levels, MatMulTest,
    testing::Combine(testing::ValuesIn(SupportedLevels()),
                     testing::Values(DType::kF64, DType::kF32, DType::kF16, DType::kBF16,
                                     DType::kF8E4M3, DType::kF8E5M2, DType::kF8E8M0, DType::kF4E2M1,
                                     DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                     DType::kQ5_1, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                     DType::kQ5_K, DType::kQ6_K, DType::kMXFP4, DType::kF8Group128,
                                     DType::kF8Group32, DType::kI8Group128, DType::kI8Group32,
                                     DType::kI4Group128, DType::kI4Group32, DType::kI4MinGroup128,
                                     DType::kI4MinGroup32),
                     testing::Values(ActivationBits::k16, ActivationBits::k8)),
    [](const auto& info) {
      return std::string(Name(std::get<0>(info.param))) + "_" +
             std::string(Name(std::get<1>(info.param))) +
             (std::get<2>(info.param) == ActivationBits::k8 ? "_8bit" : "");
    });

}  // namespace
}  // namespace inhouse::engine
