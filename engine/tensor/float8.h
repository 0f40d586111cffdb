// The 8-bit floats of weights and scales as bit patterns: exact conversions to float.
#pragma once

#include <bit>
#include <cstdint>

namespace inhouse::engine {

// OCP OFP8 specification 1.0: 4 exponent bits, bias 7, no infinity, S.1111.111 is NaN.
inline float FromE4M3(uint32_t code) {
  const uint32_t sign = (code & 0x80U) << 24;
  const uint32_t exponent = code >> 3 & 15U;
  const uint32_t mantissa = code & 7U;
  if ((code & 0x7FU) == 0x7FU) return std::bit_cast<float>(sign | 0x7FC00000U);
  if (exponent != 0) return std::bit_cast<float>(sign | (exponent + 120) << 23 | mantissa << 20);
  const float magnitude = static_cast<float>(mantissa) * 0x1p-9F;
  return sign != 0 ? -magnitude : magnitude;
}

// OCP MX specification 1.0: 2^(code - 127); 255 is NaN; 0 is 2^-127, a subnormal float.
inline float FromE8M0(uint32_t code) {
  if (code == 255) return std::bit_cast<float>(0x7FC00000U);
  return std::bit_cast<float>(code == 0 ? 0x00400000U : code << 23);
}

}  // namespace inhouse::engine
