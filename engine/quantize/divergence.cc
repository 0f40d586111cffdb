#include "engine/quantize/divergence.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/check.h"

namespace inhouse::engine {
namespace {

// log of the sum of exp of the logits.
double LogSum(std::span<const float> logits, float largest) {
  double sum = 0;
  for (const float x : logits) sum += std::exp(static_cast<double>(x - largest));
  return static_cast<double>(largest) + std::log(sum);
}

}  // namespace

void Divergence::Add(std::span<const float> a, std::span<const float> b,
                     std::optional<int32_t> next) {
  INHOUSE_CHECK(a.size() == b.size() && !a.empty(), "logits of one vocabulary");
  const auto top_a = std::max_element(a.begin(), a.end());
  const auto top_b = std::max_element(b.begin(), b.end());
  const double log_sum_a = LogSum(a, *top_a);
  const double log_sum_b = LogSum(b, *top_b);
  double kl = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double log_p = static_cast<double>(a[i]) - log_sum_a;
    const double log_q = static_cast<double>(b[i]) - log_sum_b;
    // Terms below e^-60 add nothing to a sum that is kept in double, and cost most of the time.
    if (log_p < -60) continue;
    kl += std::exp(log_p) * (log_p - log_q);
  }
  // The sum of rounded terms may be a little below zero.
  kl_.push_back(std::isnan(log_sum_a + log_sum_b) ? log_sum_a + log_sum_b : std::max(kl, 0.0));
  if (top_a - a.begin() == top_b - b.begin()) ++agreed_;
  if (!next) return;
  ++predicted_;
  loss_a_ += log_sum_a - static_cast<double>(a[static_cast<size_t>(*next)]);
  loss_b_ += log_sum_b - static_cast<double>(b[static_cast<size_t>(*next)]);
}

DivergenceSummary Divergence::Summary() const {
  DivergenceSummary out;
  out.positions = static_cast<int64_t>(kl_.size());
  constexpr double kNone = std::numeric_limits<double>::quiet_NaN();
  const auto predicted = static_cast<double>(predicted_);
  out.perplexity_a = predicted_ > 0 ? std::exp(loss_a_ / predicted) : kNone;
  out.perplexity_b = predicted_ > 0 ? std::exp(loss_b_ / predicted) : kNone;
  if (kl_.empty()) return out;
  const auto count = static_cast<double>(kl_.size());
  out.top1_agreement = static_cast<double>(agreed_) / count;
  double sum = 0;
  for (const double kl : kl_) sum += kl;
  out.kl_mean = sum / count;
  std::vector<double> sorted = kl_;
  const auto rank = static_cast<int64_t>(std::ceil(0.99 * count)) - 1;
  std::nth_element(sorted.begin(), sorted.begin() + rank, sorted.end());
  out.kl_p99 = sorted[static_cast<size_t>(rank)];
  return out;
}

}  // namespace inhouse::engine
