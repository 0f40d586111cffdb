#include "engine/quantize/fp8.h"

#include <algorithm>
#include <bit>
#include <cmath>

namespace inhouse::engine {
namespace {

constexpr uint32_t kMax = 0x43E00000;             // 448
constexpr uint32_t kSmallestNormal = 0x3C800000;  // 2^-6

}  // namespace

uint8_t EncodeE4M3(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  const uint32_t sign = bits >> 24 & 0x80U;
  const uint32_t magnitude = bits & 0x7FFFFFFFU;
  if (magnitude > 0x7F800000U) return static_cast<uint8_t>(sign | 0x7FU);
  if (magnitude >= kMax) return static_cast<uint8_t>(sign | 0x7EU);
  if (magnitude < kSmallestNormal) {
    // The last bit of 16384 in float is 2^-9, E4M3's smallest step: the addition rounds, and the
    // code is the count of steps (8 = the smallest normal code).
    const float shifted = std::bit_cast<float>(magnitude) + 16384.0F;
    return static_cast<uint8_t>(sign | (std::bit_cast<uint32_t>(shifted) - 0x46800000U));
  }
  // Three of 23 mantissa bits stay; a carry runs into the exponent, whose bias goes from 127 to 7.
  const uint32_t rounded = magnitude + 0x7FFFFU + (magnitude >> 20 & 1U);
  return static_cast<uint8_t>(sign | ((rounded >> 20) - (120U << 3)));
}

float Fp8BlockScale(const float* weights, int64_t rows, int64_t cols, int64_t ld) {
  float amax = 0;
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) amax = std::max(amax, std::abs(weights[r * ld + c]));
  }
  // A subnormal scale would lose bits, and 0 / 0 is no code.
  return amax > 0 ? std::max(amax / 448.0F, 0x1p-126F) : 1.0F;
}

float EncodeFp8Block(const float* weights, int64_t rows, int64_t cols, int64_t ld, uint8_t* codes) {
  const float scale = Fp8BlockScale(weights, rows, cols, ld);
  for (int64_t r = 0; r < rows; ++r) {
    for (int64_t c = 0; c < cols; ++c) codes[r * ld + c] = EncodeE4M3(weights[r * ld + c] / scale);
  }
  return scale;
}

}  // namespace inhouse::engine
