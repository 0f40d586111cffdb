#include "engine/quantize/fp8.h"

#include <bit>
#include <cmath>
#include <cstdint>
#include <random>
#include <vector>

#include "engine/kernels/kernel_table.h"
#include "engine/tensor/float16.h"
#include "gtest/gtest.h"

namespace inhouse::engine {
namespace {

float Decode(uint8_t code) {
  const auto byte = static_cast<std::byte>(code);
  float value = 0;
  DequantizeRow(DType::kF8E4M3, &byte, 1, &value);
  return value;
}

// The definition: the code whose value is nearest; of two equally near ones the even one.
uint8_t Nearest(float value) {
  if (std::isnan(value)) return std::signbit(value) ? 0xFF : 0x7F;
  const uint8_t sign = std::signbit(value) ? 0x80 : 0;
  const double magnitude = std::abs(static_cast<double>(value));
  uint8_t best = 0;
  for (uint8_t code = 1; code < 0x7F; ++code) {
    const double miss = std::abs(static_cast<double>(Decode(code)) - magnitude);
    const double least = std::abs(static_cast<double>(Decode(best)) - magnitude);
    if (miss < least || (miss == least && code % 2 == 0)) best = code;
  }
  return static_cast<uint8_t>(sign | best);
}

TEST(Fp8, EveryBF16NumberHasTheNearestCode) {
  for (uint32_t bits = 0; bits < 0x10000; ++bits) {
    const float value = FromBF16(static_cast<uint16_t>(bits));
    ASSERT_EQ(EncodeE4M3(value), Nearest(value)) << "BF16 bits " << bits << " = " << value;
  }
}

TEST(Fp8, TiesAndTheirNeighboursInFloat32) {
  for (uint8_t code = 0; code < 0x7E; ++code) {
    const float low = Decode(code);
    const float high = Decode(static_cast<uint8_t>(code + 1));
    const float middle = (low + high) / 2;  // exact: one bit more than E4M3 has
    for (const float value : {low, middle, std::nextafter(middle, 0.0F),
                              std::nextafter(middle, 1e9F), std::nextafter(low, 1e9F)}) {
      ASSERT_EQ(EncodeE4M3(value), Nearest(value)) << value;
      ASSERT_EQ(EncodeE4M3(-value), Nearest(-value)) << -value;
    }
  }
  EXPECT_EQ(EncodeE4M3(463.9F), 0x7E);
  EXPECT_EQ(EncodeE4M3(1e38F), 0x7E);
  EXPECT_EQ(EncodeE4M3(-HUGE_VALF), 0xFE);
  EXPECT_EQ(EncodeE4M3(-0.0F), 0x80);
  EXPECT_EQ(EncodeE4M3(1e-45F), 0x00);
}

TEST(Fp8, ABlockReachesItsLargestValue) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 0.02F);
  constexpr int64_t kLd = 131;
  std::vector<float> weights(128 * kLd);
  for (float& w : weights) w = normal(random);
  weights[5 * kLd + 9] = -1.75F;
  std::vector<uint8_t> codes(weights.size(), 0x55);
  const float scale = EncodeFp8Block(weights.data(), 100, 70, kLd, codes.data());
  EXPECT_EQ(scale, 1.75F / 448.0F);
  EXPECT_EQ(codes[5 * kLd + 9], 0xFE);
  for (int64_t r = 0; r < 128; ++r) {
    for (int64_t c = 0; c < kLd; ++c) {
      const auto i = static_cast<size_t>(r * kLd + c);
      if (r < 100 && c < 70) {
        ASSERT_EQ(codes[i], Nearest(weights[i] / scale));
      } else {
        ASSERT_EQ(codes[i], 0x55) << "outside of the block";
      }
    }
  }
}

TEST(Fp8, ZerosAndTinyBlocks) {
  std::vector<float> weights(16, 0.0F);
  std::vector<uint8_t> codes(16, 0x55);
  EXPECT_EQ(EncodeFp8Block(weights.data(), 4, 4, 4, codes.data()), 1.0F);
  EXPECT_EQ(codes, std::vector<uint8_t>(16, 0));
  weights[3] = 1e-44F;  // a scale of amax / 448 would be 0
  const float scale = EncodeFp8Block(weights.data(), 4, 4, 4, codes.data());
  EXPECT_GE(scale, 0x1p-126F);
  EXPECT_EQ(codes[0], 0);
}

}  // namespace
}  // namespace inhouse::engine
