#include <bit>
#include <cmath>
#include <cstring>
#include <fstream>
#include <iterator>
#include <map>
#include <string>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

std::vector<float> Expand(DType dtype, const std::vector<uint8_t>& bytes, int64_t n) {
  // One byte off any alignment: rows in a file stand anywhere.
  std::vector<std::byte> row(bytes.size() + 1);
  std::memcpy(row.data() + 1, bytes.data(), bytes.size());
  std::vector<float> out(static_cast<size_t>(n));
  DequantizeRow(dtype, row.data() + 1, n, out.data());
  return out;
}

// tests/fixtures/kernels/make_dequantize.py wrote it with PyPI gguf, which is the judge.
TEST(DequantizeTest, EqualsGgufBitForBit) {
  const std::map<std::string, DType> types = {
      {"Q8_0", DType::kQ8_0}, {"Q4_0", DType::kQ4_0},   {"Q4_1", DType::kQ4_1},
      {"Q5_0", DType::kQ5_0}, {"Q5_1", DType::kQ5_1},   {"Q2_K", DType::kQ2_K},
      {"Q3_K", DType::kQ3_K}, {"Q4_K", DType::kQ4_K},   {"Q5_K", DType::kQ5_K},
      {"Q6_K", DType::kQ6_K}, {"MXFP4", DType::kMXFP4}, {"BF16", DType::kBF16}};
  std::ifstream file("tests/fixtures/kernels/dequantize.bin", std::ios::binary);
  ASSERT_TRUE(file.is_open()) << "run the test in the root of the tree";
  size_t seen = 0;
  char name[9] = {};
  while (file.read(name, 8)) {
    uint32_t sizes[2] = {};
    file.read(reinterpret_cast<char*>(sizes), sizeof(sizes));
    std::vector<uint8_t> bytes(sizes[1]);
    std::vector<float> expected(sizes[0]);
    file.read(reinterpret_cast<char*>(bytes.data()), static_cast<std::streamsize>(bytes.size()));
    file.read(reinterpret_cast<char*>(expected.data()),
              static_cast<std::streamsize>(expected.size() * sizeof(float)));
    ASSERT_TRUE(file.good()) << name;
    const auto it = types.find(name);
    ASSERT_NE(it, types.end()) << name;
    const std::vector<float> got = Expand(it->second, bytes, sizes[0]);
    for (size_t i = 0; i < got.size(); ++i) {
      // Equal as numbers: numpy's -0 and ours may differ in sign where an integer zero is scaled.
      ASSERT_EQ(got[i], expected[i]) << name << " element " << i;
    }
    ++seen;
  }
  EXPECT_EQ(seen, types.size());
}

// OCP OFP8 1.0: value = (-1)^s 2^(e-7) (1 + m/8), subnormals m 2^-9.
TEST(DequantizeTest, EveryE4M3Code) {
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  const std::vector<float> got = Expand(DType::kF8E4M3, codes, 256);
  for (int i = 0; i < 256; ++i) {
    const int e = i >> 3 & 15;
    const int m = i & 7;
    const double magnitude = e == 0 ? std::ldexp(m, -9) : std::ldexp(8 + m, e - 10);
    const float value = got[static_cast<size_t>(i)];
    if ((i & 127) == 127) {
      EXPECT_TRUE(std::isnan(value)) << i;
    } else {
      EXPECT_EQ(static_cast<double>(value), i >= 128 ? -magnitude : magnitude) << i;
      EXPECT_EQ(std::signbit(value), i >= 128) << i;
    }
  }
}

// Scale, minimum, codes; a row that ends inside its second block.
TEST(DequantizeTest, GroupsOfOurOwn) {
  const auto bytes_of = [](std::vector<float> header, std::vector<uint8_t> codes) {
    std::vector<uint8_t> bytes(header.size() * 4);
    std::memcpy(bytes.data(), header.data(), bytes.size());
    bytes.insert(bytes.end(), codes.begin(), codes.end());
    return bytes;
  };
  const auto append = [](std::vector<uint8_t> a, const std::vector<uint8_t>& b) {
    a.insert(a.end(), b.begin(), b.end());
    return a;
  };
  std::vector<uint8_t> codes(128);
  for (size_t i = 0; i < codes.size(); ++i) codes[i] = static_cast<uint8_t>(i * 2);
  const std::vector<float> i8 =
      Expand(DType::kI8Group128, append(bytes_of({0.5F}, codes), bytes_of({-2.0F}, codes)), 130);
  EXPECT_EQ(i8[3], 3.0F);
  EXPECT_EQ(i8[64], -64.0F);
  EXPECT_EQ(i8[129], -4.0F);
  const std::vector<float> f8 = Expand(DType::kF8Group32, bytes_of({4.0F}, codes), 29);
  EXPECT_EQ(f8[28], 4.0F * 1.0F);  // 0x38 is one
  codes.resize(64);
  const std::vector<float> i4 = Expand(DType::kI4Group128, bytes_of({0.5F}, codes), 128);
  EXPECT_EQ(i4[1], 0.5F * (2 - 8));
  EXPECT_EQ(i4[16 + 9], 0.5F * (1 - 8));        // byte 9 = 0x12: low nibble column 9, high 25
  EXPECT_EQ(i4[96 + 16 + 15], 0.5F * (7 - 8));  // byte 63 = 0x7E
  codes.resize(16);
  const std::vector<float> min = Expand(DType::kI4MinGroup32, bytes_of({0.5F, -3.0F}, codes), 32);
  EXPECT_EQ(min[15], 0.5F * 14 - 3.0F);
  EXPECT_EQ(min[31], 0.5F * 1 - 3.0F);
}

TEST(DequantizeTest, EveryE5M2AndE8M0Code) {
  std::vector<uint8_t> codes(256);
  for (size_t i = 0; i < 256; ++i) codes[i] = static_cast<uint8_t>(i);
  const std::vector<float> e5m2 = Expand(DType::kF8E5M2, codes, 256);
  const std::vector<float> e8m0 = Expand(DType::kF8E8M0, codes, 256);
  for (int i = 0; i < 256; ++i) {
    const int e = i >> 2 & 31;
    const int m = i & 3;
    const float a = e5m2[static_cast<size_t>(i)];
    if (e == 31) {
      EXPECT_EQ(std::isinf(a), m == 0) << i;
      EXPECT_EQ(std::isnan(a), m != 0) << i;
    } else {
      const double magnitude = e == 0 ? std::ldexp(m, -16) : std::ldexp(4 + m, e - 17);
      EXPECT_EQ(static_cast<double>(a), i >= 128 ? -magnitude : magnitude) << i;
    }
    const float b = e8m0[static_cast<size_t>(i)];
    if (i == 255) {
      EXPECT_TRUE(std::isnan(b));
    } else {
      EXPECT_EQ(static_cast<double>(b), std::ldexp(1.0, i - 127)) << i;
    }
  }
}

TEST(DequantizeTest, F4IsLowNibbleFirst) {
  const std::vector<float> got = Expand(DType::kF4E2M1, {0x10, 0x32, 0x54, 0x76, 0x98, 0xFE}, 12);
  const std::vector<float> expected = {0, 0.5F, 1, 1.5F, 2, 3, 4, 6, -0.0F, -0.5F, -4, -6};
  EXPECT_EQ(got, expected);
}

TEST(DequantizeTest, PlainTypes) {
  std::vector<uint8_t> f64(16);
  const double values[2] = {-2.5, 1e300};
  std::memcpy(f64.data(), values, sizeof(values));
  const std::vector<float> got = Expand(DType::kF64, f64, 2);
  EXPECT_EQ(got[0], -2.5F);
  EXPECT_TRUE(std::isinf(got[1]));  // out of float's range
  EXPECT_EQ(Expand(DType::kF16, {0x01, 0x80, 0xFF, 0x7B}, 2),
            (std::vector<float>{-0x1p-24F, 65504.0F}));
  EXPECT_EQ(Expand(DType::kI8, {0x80, 0x7F}, 2), (std::vector<float>{-128.0F, 127.0F}));
  EXPECT_EQ(Expand(DType::kU8, {0x80, 0xFF}, 2), (std::vector<float>{128.0F, 255.0F}));
  EXPECT_EQ(Expand(DType::kI16, {0x00, 0x80}, 1), (std::vector<float>{-32768.0F}));
}

}  // namespace
}  // namespace inhouse::engine
