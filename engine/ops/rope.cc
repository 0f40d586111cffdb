#include "engine/ops/rope.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "base/check.h"

namespace inhouse::engine {
namespace {

// Wavelengths longer than the original context are stretched, short ones kept, those between
// blended.
double Llama3(double frequency, const RopeConfig& c) {
  const double wavelength = 2 * std::numbers::pi / frequency;
  if (wavelength < c.original_context / c.high_freq_factor) return frequency;
  if (wavelength > c.original_context / c.low_freq_factor) return frequency / c.factor;
  const double smooth = (c.original_context / wavelength - c.low_freq_factor) /
                        (c.high_freq_factor - c.low_freq_factor);
  return (1 - smooth) * frequency / c.factor + smooth * frequency;
}

// The dimension that turns `rotations` times within the original context (YaRN, Peng et al. 2023,
// section 3.2).
double CorrectionDim(double rotations, const RopeConfig& c) {
  return c.dim * std::log(c.original_context / (rotations * 2 * std::numbers::pi)) /
         (2 * std::log(c.theta));
}

void ApplyYarn(const RopeConfig& c, std::vector<double>& frequencies) {
  double low = CorrectionDim(c.beta_fast, c);
  double high = CorrectionDim(c.beta_slow, c);
  if (c.truncate) {
    low = std::floor(low);
    high = std::ceil(high);
  }
  low = std::max(low, 0.0);
  high = std::min(high, c.dim - 1.0);
  if (low == high) high += 0.001;
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const double ramp = std::clamp((static_cast<double>(i) - low) / (high - low), 0.0, 1.0);
    frequencies[i] = frequencies[i] / c.factor * ramp + frequencies[i] * (1 - ramp);
  }
}

}  // namespace

std::vector<double> RopeFrequencies(const RopeConfig& config) {
  std::vector<double> frequencies(static_cast<size_t>(config.dim / 2));
  for (size_t i = 0; i < frequencies.size(); ++i) {
    double f = std::pow(config.theta, -2.0 * static_cast<double>(i) / config.dim);
    if (config.scaling == RopeScaling::kLinear) f /= config.factor;
    if (config.scaling == RopeScaling::kLlama3) f = Llama3(f, config);
    frequencies[i] = f;
  }
  if (config.scaling == RopeScaling::kYarn) ApplyYarn(config, frequencies);
  for (size_t i = 0; i < config.frequency_divisors.size() && i < frequencies.size(); ++i) {
    frequencies[i] /= static_cast<double>(config.frequency_divisors[i]);
  }
  return frequencies;
}

RopeTable::RopeTable(const RopeConfig& config, int64_t rows_max)
    : dim_(config.dim),
      attention_factor_(config.attention_factor),
      frequencies_(RopeFrequencies(config)),
      values_(static_cast<size_t>(rows_max * config.dim)) {}

void RopeTable::Fill(const base::TeamMember& member, std::span<const int64_t> positions) {
  const auto rows = static_cast<int64_t>(positions.size());
  INHOUSE_CHECK(rows * dim_ <= static_cast<int64_t>(values_.size()),
                "the table was sized for fewer rows");
  const auto [begin, end] = member.Share(rows);
  const size_t half = frequencies_.size();
  for (int64_t r = begin; r < end; ++r) {
    float* out = values_.data() + r * dim_;
    for (size_t i = 0; i < half; ++i) {
      const double angle = static_cast<double>(positions[static_cast<size_t>(r)]) * frequencies_[i];
      out[i] = static_cast<float>(std::cos(angle) * attention_factor_);
      out[half + i] = static_cast<float>(std::sin(angle) * attention_factor_);
    }
  }
  member.Barrier();
}

void RotateHeads(const OpContext& context, const RopeTable& table, float* x, int64_t ld,
                 int64_t rows, int heads, int head_dim) {
  const auto [begin, end] = context.member.Share(rows);
  for (int64_t r = begin; r < end; ++r) {
    for (int head = 0; head < heads; ++head) {
      context.kernels.elementwise->rope_half(x + r * ld + int64_t{head} * head_dim, table.row(r),
                                             table.dim());
    }
  }
}

}  // namespace inhouse::engine
