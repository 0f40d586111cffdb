// The AVX2 and AVX-VNNI products against double, with the activations rounded as the layout says:
// what is left is the rounding of one float chain, so a wrong code, scale or column shows at once.
#include <algorithm>
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
#include "engine/kernels/matmul/matmul.h"
#include "engine/tensor/arena.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

constexpr float kCanary = -987.25F;
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

// Byte offsets of the F16 fields of a block: random bytes there could be infinite.
std::vector<int> HalfFields(DType type) {
  switch (type) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
      return {0};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {};
  }
}

// Stored rows of any type with every code, and scales around 2^-6 of both signs.
std::vector<std::byte> RandomRows(DType type, int64_t rows, int64_t k, std::mt19937& generator) {
  std::vector<std::byte> bytes(static_cast<size_t>(rows * RowBytes(type, k)));
  std::normal_distribution<float> normal(0.0F, 0.02F);
  const auto put = [&bytes](size_t at, const auto& value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  const auto block = static_cast<size_t>(Info(type).block_bytes);
  for (size_t at = 0; at < bytes.size(); at += block) {
    if (type == DType::kF32) {
      put(at, normal(generator));
    } else if (type == DType::kF64) {
      put(at, double{normal(generator)});
    } else if (type == DType::kF16) {
      put(at, ToF16(normal(generator)));
    } else if (type == DType::kBF16) {
      put(at, ToBF16(normal(generator)));
    } else {
      for (size_t i = 0; i < block; ++i) bytes[at + i] = static_cast<std::byte>(generator());
      for (const int field : HalfFields(type)) {
        put(at + static_cast<size_t>(field), ToF16(normal(generator)));
      }
      if (type == DType::kMXFP4 || type == DType::kF8E8M0) {
        bytes[at] = static_cast<std::byte>(120 + generator() % 8);
      }
      if (type == DType::kF8E4M3 || type == DType::kF8E5M2) {
        bytes[at] &= std::byte{0xBB};  // neither NaN nor infinity
      }
    }
  }
  return bytes;
}

std::vector<float> RandomRows(int64_t m, int64_t k, std::mt19937& generator) {
  std::normal_distribution<float> normal(0.0F, 1.0F);
  std::vector<float> x(static_cast<size_t>(m * k));
  for (float& value : x) value = normal(generator);
  return x;
}

// x as the kernel rounds it: groups of 32 to 32512 steps of their largest magnitude.
std::vector<double> Rounded(const MatMulKernel& kernel, const std::vector<float>& x) {
  std::vector<double> rounded(x.begin(), x.end());
  if (kernel.activations != ActivationLayout::kI16Groups32) return rounded;
  for (size_t at = 0; at < x.size(); at += 32) {
    float max = 0;
    for (size_t i = at; i < at + 32; ++i) max = std::max(max, std::abs(x[i]));
    const float inverse = max > 1e-30F ? 32512.0F / max : 0.0F;
    const float scale = max / 32512.0F;
    for (size_t i = at; i < at + 32; ++i) {
      rounded[i] = double{scale} * double{std::nearbyint(x[i] * inverse)};
    }
  }
  return rounded;
}

// One panel with packed weights.
class Panel {
 public:
  Panel(const MatMulKernel& kernel, const std::vector<std::byte>& rows, int n_rows, int64_t k)
      : kernel_(kernel),
        n_rows_(n_rows),
        k_(k),
        panel_(static_cast<size_t>(kernel.panel_bytes(k))),
        scratch_(static_cast<size_t>(std::max<int64_t>(64, kernel.scratch_bytes(k)))) {
    std::vector<const std::byte*> pointers;
    for (int i = 0; i < n_rows; ++i) {
      pointers.push_back(rows.data() + i * RowBytes(kernel.weights, k));
    }
    std::memset(panel_.data(), 0xFF, panel_.size());
    std::memset(scratch_.data(), 0xFF, scratch_.size());
    kernel.pack_panel(pointers.data(), n_rows, k, panel_.data());
  }

  // y [m][n_rows] for x [m][k].
  std::vector<float> Times(const std::vector<float>& x) const {
    const int64_t m = static_cast<int64_t>(x.size()) / k_;
    const int64_t strips = (m + kernel_.strip_rows - 1) / kernel_.strip_rows;
    const Arena packed(static_cast<size_t>(strips * kernel_.strip_bytes(k_)));
    std::memset(packed.data(), 0xFF, packed.size());
    for (int64_t m0 = 0; m0 < m; m0 += kernel_.strip_rows) {
      kernel_.pack_strip(x.data(), k_, m0, std::min<int64_t>(m, m0 + kernel_.strip_rows), m, k_,
                         packed.data());
    }
    const int64_t ldy = n_rows_ + 3;
    std::vector<float> padded(static_cast<size_t>(m * ldy), kCanary);
    kernel_.run({.panel = panel_.data(),
                 .x = packed.data(),
                 .m = m,
                 .k = k_,
                 .n_rows = n_rows_,
                 .y = padded.data(),
                 .ldy = ldy,
                 .scratch = scratch_.data()});
    std::vector<float> y;
    for (int64_t i = 0; i < m; ++i) {
      const float* row = padded.data() + i * ldy;
      y.insert(y.end(), row, row + n_rows_);
      for (int j = 0; j < 3; ++j) EXPECT_EQ(row[n_rows_ + j], kCanary) << "wrote beyond the row";
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

class Avx2MatMulTest : public testing::TestWithParam<std::tuple<IsaLevel, DType>> {
 protected:
  void SetUp() override {
    if (TableFor(std::get<0>(GetParam())) == nullptr) GTEST_SKIP() << "not supported here";
  }
  const MatMulKernel& kernel() const { return *TableFor(std::get<0>(GetParam()))->matmul(type()); }
  DType type() const { return std::get<1>(GetParam()); }
  int block() const { return Info(type()).block_elements; }
};

// Tolerance: a chain of n additions errs by at most n 2^-24 of the sum of magnitudes; in a group
// d q and m may each be as large as three times its largest weight. Integer sums are exact.
void ExpectProduct(const MatMulKernel& kernel, const std::vector<std::byte>& rows, int n_rows,
                   int64_t k, const std::vector<float>& x, const std::vector<float>& y) {
  const std::vector<double> rounded = Rounded(kernel, x);
  const bool groups = kernel.activations == ActivationLayout::kI16Groups32;
  const double steps = groups ? static_cast<double>(3 * k) / 32 + 4 : static_cast<double>(k) + 1;
  for (int n = 0; n < n_rows; ++n) {
    std::vector<float> w(static_cast<size_t>(k));
    DequantizeRow(kernel.weights, rows.data() + n * RowBytes(kernel.weights, k), k, w.data());
    std::vector<double> largest(w.begin(), w.end());
    for (size_t i = 0; groups && i < w.size(); ++i) {
      double max = 0;
      for (size_t j = i / 32 * 32; j < i / 32 * 32 + 32; ++j)
        max = std::max(max, std::abs(double{w[j]}));
      largest[i] = 3 * max;
    }
    for (int64_t m = 0; m < static_cast<int64_t>(x.size()) / k; ++m) {
      double expected = 0;
      double magnitude = 0;
      for (int64_t i = 0; i < k; ++i) {
        const double value = rounded[static_cast<size_t>(m * k + i)];
        expected += double{w[static_cast<size_t>(i)]} * value;
        magnitude += std::abs(largest[static_cast<size_t>(i)] * value);
      }
      ASSERT_NEAR(y[static_cast<size_t>(m * n_rows + n)], expected, steps * 0x1p-24 * magnitude)
          << "k " << k << " row " << n << " m " << m;
    }
  }
}

TEST_P(Avx2MatMulTest, EveryColumnTailAndRowCount) {
  std::mt19937 generator(1);
  std::vector<int64_t> lengths;
  for (int64_t i = 1; i <= (block() == 1 ? 70 : 5); ++i) lengths.push_back(i * block());
  lengths.push_back(std::max(block(), 256) * 3 + block());
  int n_rows = 0;
  for (const int64_t k : lengths) {
    n_rows = n_rows % 32 + 1;
    const int64_t m = 1 + n_rows % 8;
    const std::vector<std::byte> rows = RandomRows(type(), n_rows, k, generator);
    const std::vector<float> x = RandomRows(m, k, generator);
    ExpectProduct(kernel(), rows, n_rows, k, x, Panel(kernel(), rows, n_rows, k).Times(x));
  }
  for (n_rows = 1; n_rows <= 32; ++n_rows) {
    const int64_t k = std::max(block(), 64);
    const std::vector<std::byte> rows = RandomRows(type(), n_rows, k, generator);
    const std::vector<float> x = RandomRows(3, k, generator);
    ExpectProduct(kernel(), rows, n_rows, k, x, Panel(kernel(), rows, n_rows, k).Times(x));
  }
}

TEST_P(Avx2MatMulTest, RowHasTheSameBitsInEveryBatch) {
  std::mt19937 generator(2);
  const int64_t k = 512 + block();
  const std::vector<std::byte> rows = RandomRows(type(), 32, k, generator);
  const Panel panel(kernel(), rows, 32, k);
  const std::vector<float> x = RandomRows(33, k, generator);
  std::vector<float> alone;
  for (int64_t m = 0; m < 33; ++m) {
    const std::vector<float> y =
        panel.Times(std::vector<float>(x.begin() + m * k, x.begin() + (m + 1) * k));
    alone.insert(alone.end(), y.begin(), y.end());
  }
  ExpectProduct(kernel(), rows, 32, k, x, alone);
  for (int64_t m = 2; m <= 33; ++m) {
    for (const int64_t first : {int64_t{0}, 33 - m}) {
      const std::vector<float> y =
          panel.Times(std::vector<float>(x.begin() + first * k, x.begin() + (first + m) * k));
      ASSERT_EQ(std::memcmp(y.data(), alone.data() + first * 32, y.size() * sizeof(float)), 0)
          << m << " rows from " << first;
    }
  }
}

// Codes and activations at their limits, all of one sign: where 16-bit sums would saturate.
TEST_P(Avx2MatMulTest, ExtremeCodesDoNotSaturate) {
  const int64_t k = 2 * std::max(block(), 32);
  for (const int pattern : {0x00, 0xFF, 0x80, 0x7F, 0x0F, 0xF0}) {
    for (const float sign : {1.0F, -1.0F}) {
      std::mt19937 generator(3);
      std::vector<std::byte> rows = RandomRows(type(), 8, k, generator);
      const auto bytes = static_cast<size_t>(Info(type()).block_bytes);
      if (block() == 1) continue;
      for (size_t at = 0; at < rows.size(); ++at) {
        rows[at] = static_cast<std::byte>(pattern);
      }
      for (size_t at = 0; at < rows.size(); at += bytes) {
        for (const int field : HalfFields(type())) {
          const uint16_t one = 0x3C00;
          std::memcpy(rows.data() + at + static_cast<size_t>(field), &one, 2);
        }
        if (type() == DType::kMXFP4) rows[at] = std::byte{127};
      }
      const std::vector<float> x(static_cast<size_t>(7 * k), sign);
      ExpectProduct(kernel(), rows, 8, k, x, Panel(kernel(), rows, 8, k).Times(x));
    }
  }
}

TEST_P(Avx2MatMulTest, BadRowSpoilsItselfOnly) {
  std::mt19937 generator(4);
  const int64_t k = 2 * std::max(block(), 32);
  const std::vector<std::byte> rows = RandomRows(type(), 32, k, generator);
  const Panel panel(kernel(), rows, 32, k);
  std::vector<float> x = RandomRows(9, k, generator);
  const std::vector<float> clean = panel.Times(x);
  x[static_cast<size_t>(2 * k + 5)] = kNan;
  x[static_cast<size_t>(7 * k + 40)] = kInfinity;
  const std::vector<float> y = panel.Times(x);
  for (size_t i = 0; i < y.size(); ++i) {
    if (i / 32 == 2) {
      EXPECT_TRUE(std::isnan(y[i]));
    } else if (i / 32 == 7) {
      EXPECT_FALSE(std::isfinite(y[i]) && y[i] != 0.0F && type() == DType::kF32) << i;
    } else {
      EXPECT_EQ(y[i], clean[i]) << i;
    }
  }
}

TEST_P(Avx2MatMulTest, ZeroAndTinyActivations) {
  std::mt19937 generator(5);
  const int64_t k = 2 * std::max(block(), 32);
  const std::vector<std::byte> rows = RandomRows(type(), 32, k, generator);
  const Panel panel(kernel(), rows, 32, k);
  for (const float value : {0.0F, 1e-40F, -1e-38F}) {
    for (const float y : panel.Times(std::vector<float>(static_cast<size_t>(k), value))) {
      EXPECT_NEAR(y, 0.0F, 1e-28F);
    }
  }
}

INSTANTIATE_TEST_SUITE_P(
    Levels, Avx2MatMulTest,
    testing::Combine(testing::Values(IsaLevel::kAvx2, IsaLevel::kAvxVnni),
                     testing::Values(DType::kF64, DType::kF32, DType::kF16, DType::kBF16,
                                     DType::kF8E4M3, DType::kF8E5M2, DType::kF8E8M0, DType::kF4E2M1,
                                     DType::kQ8_0, DType::kQ4_0, DType::kQ4_1, DType::kQ5_0,
                                     DType::kQ5_1, DType::kQ2_K, DType::kQ3_K, DType::kQ4_K,
                                     DType::kQ5_K, DType::kQ6_K, DType::kMXFP4)),
    [](const auto& info) {
      return std::string(Name(std::get<0>(info.param))) + "_" +
             std::string(Name(std::get<1>(info.param)));
    });

}  // namespace
}  // namespace inhouse::engine
