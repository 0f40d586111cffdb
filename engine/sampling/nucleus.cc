#include "engine/sampling/nucleus.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <limits>
#include <vector>

namespace inhouse::engine {
namespace {

struct Entry {
  float logit;
  float weight;
  size_t id;
};

bool Better(const Entry& a, const Entry& b) {
  return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
}

// Slices of the logits below the maximum. What is deeper than kDepth (exp(-40) = 4e-18) counts as
// one slice.
class Slices {
 public:
  Slices(std::span<const float> logits, float max) : max_(max) {
    float low = max;
    for (const float x : logits) low = x != kNever && x < low ? x : low;
    const float depth = std::min(max - low, kDepth);
    // Logits that are as good as equal are one slice: the scale must stay finite.
    scale_ = depth > 1e-30F ? static_cast<float>(kCount - 1) / depth : 0.0F;
  }

  static constexpr size_t kCount = 2048;
  size_t Of(float logit) const {
    return static_cast<size_t>(std::min((max_ - logit) * scale_, static_cast<float>(kCount - 1)));
  }
  static constexpr float kNever = -std::numeric_limits<float>::infinity();

 private:
  static constexpr float kDepth = 40;
  float max_;
  float scale_;
};

// The last entry of the shortest run of best entries whose weights reach `mass`.
Entry LastOf(std::vector<Entry>& entries, double mass) {
  auto begin = entries.begin();
  auto end = entries.end();
  while (end - begin > 1) {
    const auto middle = begin + (end - begin) / 2;
    std::nth_element(begin, middle, end, Better);
    double sum = 0;
    for (auto e = begin; e != middle; ++e) sum += double{e->weight};
    if (sum >= mass) {
      end = middle;
    } else {
      mass -= sum;
      begin = middle;
    }
  }
  return *begin;
}

}  // namespace

double KeepNucleus(std::span<const float> logits, float max, double mass,
                   std::span<float> weights) {
  if (max == Slices::kNever) return 0;
  const Slices slices(logits, max);
  std::array<double, Slices::kCount> sums{};
  for (size_t i = 0; i < logits.size(); ++i) {
    if (logits[i] != Slices::kNever) sums[slices.Of(logits[i])] += double{weights[i]};
  }
  size_t slice = 0;  // the one in which the nucleus ends
  for (; slice + 1 < sums.size() && sums[slice] < mass; ++slice) mass -= sums[slice];
  std::vector<Entry> entries;
  while (entries.empty()) {  // rounding may leave some mass behind the last token: then it is that
    for (size_t i = 0; i < logits.size(); ++i) {
      if (logits[i] != Slices::kNever && slices.Of(logits[i]) == slice) {
        entries.push_back({logits[i], weights[i], i});
      }
    }
    if (entries.empty()) --slice;
  }
  const Entry last = LastOf(entries, mass);
  double kept = 0;
  for (size_t i = 0; i < logits.size(); ++i) {
    const bool in = logits[i] > last.logit || (logits[i] == last.logit && i <= last.id);
    weights[i] = in ? weights[i] : 0.0F;
    kept += double{weights[i]};
  }
  return kept;
}

}  // namespace inhouse::engine
