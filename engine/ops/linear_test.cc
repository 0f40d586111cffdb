#include "engine/ops/linear.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstring>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "base/file.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

struct Matrix {
  std::vector<std::byte> bytes;
  std::vector<float> values;
  TensorView view;
};

Matrix Random(DType dtype, int64_t rows, int64_t columns, unsigned seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m;
  m.values.resize(static_cast<size_t>(rows * columns));
  for (float& v : m.values) v = FromBF16(ToBF16(normal(random)));
  if (dtype == DType::kBF16) {
    m.bytes.resize(m.values.size() * 2);
    for (size_t i = 0; i < m.values.size(); ++i) {
      const uint16_t bits = ToBF16(m.values[i]);
      std::memcpy(m.bytes.data() + i * 2, &bits, 2);
    }
  } else {
    m.bytes.resize(m.values.size() * 4);
    std::memcpy(m.bytes.data(), m.values.data(), m.bytes.size());
  }
  m.view = {dtype, {rows, columns}, m.bytes};
  return m;
}

// Rows of blocks that begin with a scale in F16 (Q4_0, Q8_0), or of BF16.
Matrix RandomBlocks(DType dtype, int64_t rows, int64_t columns, unsigned seed) {
  if (dtype == DType::kBF16) return Random(dtype, rows, columns, seed);
  std::mt19937 random(seed);
  Matrix m;
  m.bytes.resize(static_cast<size_t>(rows * RowBytes(dtype, columns)));
  for (std::byte& b : m.bytes) b = static_cast<std::byte>(random());
  const uint16_t scale = ToF16(0.01F);
  const auto block = static_cast<size_t>(Info(dtype).block_bytes);
  for (size_t at = 0; at < m.bytes.size(); at += block) std::memcpy(&m.bytes[at], &scale, 2);
  m.view = {dtype, {rows, columns}, m.bytes};
  return m;
}

// Runs `product(context, linear, y)` of m rows on a team at a level.
template <typename Product>
std::vector<float> OnTeam(const KernelTable& kernels, int threads, std::vector<LinearPart> parts,
                          int64_t m, const Product& product) {
  auto linear = Linear::Plan(std::move(parts), kernels);
  EXPECT_TRUE(linear.ok());
  Arena memory(static_cast<size_t>(linear->packed_bytes()));
  base::ThreadTeam team(threads);
  OpScratch scratch(threads, linear->packed_activation_bytes(m), linear->member_scratch_bytes());
  SingleProcess comm;
  std::vector<float> y(static_cast<size_t>(m * linear->out_features()));
  team.Run([&](const base::TeamMember& member) { linear->Pack(member, memory.data()); });
  linear->Attach(memory.data());
  linear->ReleaseParts();
  team.Run([&](const base::TeamMember& member) {
    OpContext context{member, kernels, scratch, comm};
    product(context, *linear, y.data());
  });
  return y;
}

// y = W x.
std::vector<float> Multiply(const KernelTable& kernels, int threads, std::vector<LinearPart> parts,
                            const std::vector<float>& x, int64_t m) {
  return OnTeam(kernels, threads, std::move(parts), m,
                [&](OpContext& context, const Linear& linear, float* y) {
                  MatMul(context, linear, x.data(), linear.in_features(), m, y,
                         linear.out_features());
                });
}

class LinearTest : public testing::TestWithParam<IsaLevel> {};

// Parts of different types, a row order and a bias, on every level the machine has and with several
// threads.
TEST_P(LinearTest, JoinsPartsOrdersRowsAddsBias) {
  const KernelTable& kernels = *TableFor(GetParam());
  constexpr int64_t kIn = 72;
  const Matrix a = Random(DType::kF32, 37, kIn, 1);
  const Matrix b = Random(DType::kBF16, 50, kIn, 2);
  const Matrix x = Random(DType::kF32, 19, kIn, 3);
  std::vector<int64_t> order(37);
  for (int64_t i = 0; i < 37; ++i) order[static_cast<size_t>(i)] = 36 - i;
  std::vector<float> bias(50, 0.25F);
  for (const int threads : {1, 2, 3}) {
    const std::vector<float> y =
        Multiply(kernels, threads,
                 {{StoredMatrix("a", a.view), order, {}}, {StoredMatrix("b", b.view), {}, bias}},
                 x.values, 19);
    for (int64_t m = 0; m < 19; ++m) {
      for (int64_t n = 0; n < 87; ++n) {
        const Matrix& w = n < 37 ? a : b;
        const int64_t row = n < 37 ? 36 - n : n - 37;
        double sum = n < 37 ? 0 : 0.25;
        for (int64_t k = 0; k < kIn; ++k) {
          sum += static_cast<double>(w.values[static_cast<size_t>(row * kIn + k)]) *
                 static_cast<double>(x.values[static_cast<size_t>(m * kIn + k)]);
        }
        // All values are exact in BF16, so only float32 summation differs.
        ASSERT_NEAR(y[static_cast<size_t>(m * 87 + n)], sum, 1e-4)
            << threads << " " << m << " " << n;
      }
    }
  }
}

// Parts of different types and a bias, few rows and many: the bits of the product and the
// activation one after the other.
TEST_P(LinearTest, ActivatesTheColumnsItComputes) {
  const KernelTable& kernels = *TableFor(GetParam());
  constexpr int64_t kIn = 72;
  constexpr int64_t kColumns = 200;  // the last panel is not full
  const Matrix gate = Random(DType::kF32, kColumns, kIn, 1);
  const Matrix up = Random(DType::kBF16, kColumns, kIn, 2);
  std::vector<float> bias(size_t{kColumns});
  for (size_t i = 0; i < bias.size(); ++i) bias[i] = 0.01F * static_cast<float>(i);
  const auto parts = [&]() -> std::vector<LinearPart> {
    return {{StoredMatrix("gate", gate.view), {}, {}}, {StoredMatrix("up", up.view), {}, bias}};
  };
  for (const int64_t m : {1, 13, 32, 100, 520}) {
    const Matrix x = Random(DType::kF32, m, kIn, 3);
    const std::vector<float> both = Multiply(kernels, 1, parts(), x.values, m);
    for (const int threads : {1, 2, 3, 4}) {  // four find no room for a panel each
      int64_t ld = 0;
      const std::vector<float> y = OnTeam(
          kernels, threads, parts(), m, [&](OpContext& context, const Linear& linear, float* to) {
            const int64_t returned = MatMulSwiGlu(context, linear, x.values.data(), kIn, m, to);
            if (context.member.index() == 0) ld = returned;
          });
      ASSERT_EQ(ld, m < 32 || threads == 4 ? 2 * kColumns : kColumns) << threads << " " << m;
      for (int64_t r = 0; r < m; ++r) {
        std::vector<float> expected(size_t{kColumns});
        const float* row = both.data() + r * 2 * kColumns;
        kernels.elementwise->silu_mul(row, row + kColumns, kColumns, expected.data());
        ASSERT_EQ(std::vector<float>(y.begin() + r * ld, y.begin() + r * ld + kColumns), expected)
            << threads << " threads, row " << r << " of " << m;
      }
    }
  }
}

// More rows than a panel meets at a time, beside the same rows in products of fewer. The codes of
// Q4_0 are laid out by the number of rows at some levels.
TEST_P(LinearTest, ManyRowsHaveTheBitsOfFew) {
  const KernelTable& kernels = *TableFor(GetParam());
  constexpr int64_t kIn = 96;
  constexpr int64_t kOut = 70;
  constexpr int64_t kFew = 64;
  for (const DType type : {DType::kQ4_0, DType::kQ8_0, DType::kBF16}) {
    const Matrix w = RandomBlocks(type, kOut, kIn, 1);
    std::vector<float> bias(size_t{kOut});
    for (size_t i = 0; i < bias.size(); ++i) bias[i] = static_cast<float>(i);
    const auto part = [&]() -> std::vector<LinearPart> {
      return {{StoredMatrix("w", w.view), {}, bias}};
    };
    // 257 rows: the least that are cut; the last block is the smallest one there is.
    for (const int64_t m : {256, 257, 521, 1100}) {
      const std::vector<float> x = Random(DType::kF32, m, kIn, 2).values;
      const std::vector<float> y = Multiply(kernels, 2, part(), x, m);
      for (int64_t row = 0; row < m; row += kFew) {
        const int64_t end = std::min(row + kFew, m);
        const std::vector<float> some(x.begin() + row * kIn, x.begin() + end * kIn);
        ASSERT_EQ(std::vector<float>(y.begin() + row * kOut, y.begin() + end * kOut),
                  Multiply(kernels, 2, part(), some, end - row))
            << Name(type) << ", rows from " << row << " of " << m;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Levels, LinearTest, testing::ValuesIn(SupportedLevels()),
                         [](const auto& param) { return std::string(Name(param.param)); });

std::vector<std::byte> Packed(const KernelTable& kernels, int threads, LinearPart part) {
  const auto linear = Linear::Plan({std::move(part)}, kernels);
  EXPECT_TRUE(linear.ok());
  const Arena memory(static_cast<size_t>(linear->packed_bytes()));
  base::ThreadTeam team(threads);
  team.Run([&](const base::TeamMember& member) { linear->Pack(member, memory.data()); });
  return {memory.data(), memory.data() + linear->packed_bytes()};
}

// A file is read some panels at a time; each must end up where it belongs. If it cannot be read
// (here: it ends too early), the map serves.
TEST(LinearTest, PacksAFileAsItPacksMemory) {
  constexpr int64_t kRows = 700;
  constexpr int64_t kColumns = 513;  // 1.4 MB: several reads for each thread, the last one short
  const Matrix matrix = Random(DType::kF32, kRows, kColumns, 1);
  const std::string path = testing::TempDir() + "inhouse-linear-file";
  std::string content(11, 'x');  // misaligned, as safetensors may be
  content.append(reinterpret_cast<const char*>(matrix.bytes.data()), matrix.bytes.size());
  ASSERT_TRUE(base::ReplaceFile(path, content).ok());
  const auto file = base::MappedFile::Open(path);
  ASSERT_TRUE(file.ok());
  StoredTensor tensor{.name = "a",
                      .view = {DType::kF32, {kRows, kColumns}, (*file)->bytes().subspan(11)},
                      .file = file->get(),
                      .file_offset = 11};
  std::vector<int64_t> reversed(static_cast<size_t>(kRows));
  for (size_t i = 0; i < reversed.size(); ++i) reversed[i] = kRows - 1 - static_cast<int64_t>(i);
  for (const int threads : {1, 3}) {
    for (const auto& order : {std::vector<int64_t>(), reversed}) {
      const KernelTable& kernels = *TableFor(SupportedLevels().back());
      const auto expected = Packed(kernels, threads, {StoredMatrix("a", matrix.view), order, {}});
      EXPECT_EQ(Packed(kernels, threads, {StoredMatrix(tensor), order, {}}), expected);
      StoredTensor unreadable = tensor;
      unreadable.file_offset = content.size() - 100;
      EXPECT_EQ(Packed(kernels, threads, {StoredMatrix(unreadable), order, {}}), expected);
    }
  }
  std::remove(path.c_str());
}

TEST(LinearTest, RefusesShapesAndTypes) {
  const KernelTable& kernels = *TableFor(IsaLevel::kRef);
  const Matrix a = Random(DType::kF32, 4, 8, 1);
  const Matrix b = Random(DType::kF32, 4, 6, 1);
  EXPECT_FALSE(
      Linear::Plan({{StoredMatrix("a", a.view), {}, {}}, {StoredMatrix("b", b.view), {}, {}}},
                   kernels)
          .ok());
  TensorView integers = a.view;
  integers.dtype = DType::kI32;
  EXPECT_FALSE(Linear::Plan({{StoredMatrix("a", integers), {}, {}}}, kernels).ok());
}

}  // namespace
}  // namespace inhouse::engine
