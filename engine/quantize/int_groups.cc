#include "engine/quantize/int_groups.h"

#include <algorithm>
#include <array>
#include <cmath>

#include "base/check.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kGroupMax = 4096;
// Adding and subtracting 1.5 * 2^23 rounds to the nearest integer, ties to even, and unlike
// nearbyint() it is vectorized on every CPU.
constexpr float kRound = 12582912.0F;

float HighestCode(int bits) { return static_cast<float>((1 << (bits - 1)) - 1); }
float LowestCode(int bits) { return -static_cast<float>(1 << (bits - 1)); }

float Code(float value, float inverse, float low, float high) {
  return std::min(std::max(value * inverse + kRound - kRound, low), high);
}

struct Fit {
  float error;         // sum of importance * (w - code * scale)^2
  float least_square;  // the best scale for these codes
};

Fit Measure(const float* w, const float* importance, int64_t n, int bits, float scale) {
  const float inverse = 1.0F / scale;
  const float low = LowestCode(bits);
  const float high = HighestCode(bits);
  float error = 0;
  float wq = 0;
  float qq = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float q = Code(w[i], inverse, low, high);
    const float d = w[i] - q * scale;
    error += importance[i] * d * d;
    wq += importance[i] * w[i] * q;
    qq += importance[i] * q * q;
  }
  return {error, qq > 0 ? wq / qq : scale};
}

}  // namespace

float StorableScale(float scale) {
  const float rounded = FromBF16(ToBF16(scale));
  return rounded > 0x1p-120F ? rounded : 0x1p-120F;
}

float AbsmaxScale(const float* weights, int64_t n, int bits) {
  float amax = 0;
  for (int64_t i = 0; i < n; ++i) amax = std::max(amax, std::abs(weights[i]));
  return amax > 0 ? StorableScale(amax / (HighestCode(bits) + 0.5F)) : 1.0F;
}

float SearchScale(const float* weights, const float* importance, int64_t n, int bits) {
  INHOUSE_CHECK(n <= kGroupMax, "a group fits the table of ones");
  static const auto ones = [] {
    std::array<float, kGroupMax> values;
    values.fill(1.0F);
    return values;
  }();
  if (importance == nullptr) importance = ones.data();
  const float start = AbsmaxScale(weights, n, bits);
  float best = start;
  Fit fit = Measure(weights, importance, n, bits, start);
  const auto try_scale = [&](float scale) {
    if (!(scale > 0)) return;
    scale = StorableScale(scale);
    const Fit candidate = Measure(weights, importance, n, bits, scale);
    if (candidate.error < fit.error) {
      fit = candidate;
      best = scale;
    }
  };
  // Smaller scales clip the largest weights and resolve the others better: the optimum for bell-
  // shaped groups of 128 lies near 0.85 for 4 bits, and close to 1 for 8. A little above 1 helps
  // groups that consist of few different values.
  const int steps = bits == 4 ? 20 : 6;
  const float step_width = bits == 4 ? 0.025F : 0.005F;
  for (int step = -steps; step <= 4; ++step) {
    try_scale(start * (1.0F + step_width * static_cast<float>(step)));
  }
  for (int round = 0; round < 3; ++round) {
    const float before = best;
    try_scale(fit.least_square);
    if (best == before) break;
  }
  return best;
}

int32_t EncodeInt(float value, float scale, int bits) {
  return static_cast<int32_t>(Code(value, 1.0F / scale, LowestCode(bits), HighestCode(bits)));
}

void PackCodes(const int8_t* codes, int64_t n, int bits, uint32_t* words) {
  const int64_t per_word = 32 / bits;
  const uint32_t mask = (1U << bits) - 1;
  const auto offset = static_cast<uint32_t>(1 << (bits - 1));
  for (int64_t word = 0; word * per_word < n; ++word) {
    uint32_t packed = 0;
    for (int64_t i = 0; i < per_word && word * per_word + i < n; ++i) {
      const auto code = static_cast<uint32_t>(codes[word * per_word + i]) + offset;
      packed |= (code & mask) << (bits * static_cast<int>(i));
    }
    words[word] = packed;
  }
}

}  // namespace inhouse::engine
