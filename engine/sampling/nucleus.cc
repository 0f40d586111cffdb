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
  Slices(std::span<const Entry> entries, float max) : max_(max) {
    float low = max;
    for (const Entry& e : entries) low = e.logit < low ? e.logit : low;
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

// The tokens that may belong to the nucleus, in the order of their ids. All the others together
// have less than half of the mass that the nucleus leaves out, so it ends before the first of them.
std::vector<Entry> Contenders(std::span<const float> logits, double left_out,
                              std::span<const float> weights) {
  constexpr size_t kBlock = 64;  // mostly there is none in so many
  const auto floor = static_cast<float>(left_out / 2 / static_cast<double>(weights.size()));
  std::vector<Entry> found;
  for (size_t begin = 0; begin < weights.size(); begin += kBlock) {
    const auto block = weights.subspan(begin, std::min(kBlock, weights.size() - begin));
    int count = 0;
    for (const float weight : block) count += weight > floor ? 1 : 0;
    if (count == 0) continue;
    for (size_t i = 0; i < block.size(); ++i) {
      if (block[i] > floor) found.push_back({logits[begin + i], block[i], begin + i});
    }
  }
  return found;
}

}  // namespace

double KeepNucleus(std::span<const float> logits, float max, double share, double total,
                   std::span<float> weights) {
  if (max == Slices::kNever) return 0;
  const std::vector<Entry> contenders = Contenders(logits, (1 - share) * total, weights);
  const Slices slices(contenders, max);
  std::array<double, Slices::kCount> sums{};
  for (const Entry& e : contenders) sums[slices.Of(e.logit)] += double{e.weight};
  double mass = share * total;
  size_t slice = 0;  // the one in which the nucleus ends
  for (; slice + 1 < sums.size() && sums[slice] < mass; ++slice) mass -= sums[slice];
  std::vector<Entry> entries;
  while (entries.empty()) {  // rounding may leave some mass behind the last token: then it is that
    for (const Entry& e : contenders) {
      if (slices.Of(e.logit) == slice) entries.push_back(e);
    }
    if (entries.empty()) --slice;
  }
  const Entry last = LastOf(entries, mass);
  std::ranges::fill(weights, 0.0F);
  double kept = 0;
  for (const Entry& e : contenders) {
    if (Better(last, e)) continue;
    weights[e.id] = e.weight;
    kept += double{e.weight};
  }
  return kept;
}

}  // namespace inhouse::engine
