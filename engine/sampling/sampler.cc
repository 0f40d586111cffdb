#include "engine/sampling/sampler.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "engine/sampling/nucleus.h"

namespace inhouse::engine {
namespace {

constexpr float kNever = -std::numeric_limits<float>::infinity();
constexpr float kLeast = -1e30F;  // no chance beside any other, but finite from temperature 1e-8 on

// SplitMix64 (Steele, Lea, Flood 2014): a good hash of a counter, so draw n needs no state but the
// seed.
uint64_t Mix(uint64_t z) {
  z += 0x9E3779B97F4A7C15U;
  z = (z ^ z >> 30) * 0xBF58476D1CE4E5B9U;
  z = (z ^ z >> 27) * 0x94D049BB133111EBU;
  return z ^ z >> 31;
}

}  // namespace

Sampler::Sampler(SamplingOptions options, std::span<const int32_t> prompt,
                 const ElementwiseKernels& kernels)
    : options_(std::move(options)), kernels_(kernels) {
  if (options_.repetition_penalty != 1.0F) {
    for (const int32_t id : prompt) counts_.emplace(id, 0);
  }
}

void Sampler::Accept(int32_t token) { ++counts_[token]; }

bool Sampler::Penalises() const {
  return !options_.logit_bias.empty() || options_.repetition_penalty != 1.0F ||
         options_.presence_penalty != 0.0F || options_.frequency_penalty != 0.0F;
}

void Sampler::Penalise() {
  if (!Penalises()) return;
  const auto valid = [this](int32_t id) {
    return id >= 0 && static_cast<size_t>(id) < logits_.size();
  };
  for (const auto& [id, bias] : options_.logit_bias) {
    if (valid(id)) logits_[static_cast<size_t>(id)] += bias;
  }
  for (const auto& [id, count] : counts_) {
    if (!valid(id)) continue;
    float& logit = logits_[static_cast<size_t>(id)];
    // Keskar et al. 2019 (CTRL), as transformers applies it to both signs.
    logit = logit > 0 ? logit / options_.repetition_penalty : logit * options_.repetition_penalty;
    if (count > 0) {
      logit -= options_.presence_penalty + options_.frequency_penalty * static_cast<float>(count);
    }
  }
}

// What a grammar does not allow gets no chance. An allowed token never falls to -inf itself: a
// model that is sure of another one must still say something.
void Sampler::KeepOnly(std::span<const uint64_t> allowed) {
  for (size_t word = 0; 64 * word < logits_.size(); ++word) {
    const uint64_t bits = word < allowed.size() ? allowed[word] : 0;
    if (bits == ~uint64_t{0}) continue;
    const size_t end = std::min(64 * word + 64, logits_.size());
    for (size_t i = 64 * word; i < end; ++i) {
      if ((bits >> (i % 64) & 1) == 0) {
        logits_[i] = kNever;
      } else if (!(logits_[i] >= kLeast)) {
        logits_[i] = kLeast;
      }
    }
  }
}

int32_t Sampler::Sample(std::span<const float> logits, std::span<const int32_t> banned,
                        std::span<const uint64_t> allowed) {
  if (options_.temperature == 0.0F && banned.empty() && allowed.empty() && !Penalises()) {
    return static_cast<int32_t>(
        kernels_.argmax(logits.data(), static_cast<int64_t>(logits.size())));
  }
  logits_.assign(logits.begin(), logits.end());
  Penalise();
  for (const int32_t id : banned) logits_[static_cast<size_t>(id)] = kNever;
  if (!allowed.empty()) KeepOnly(allowed);
  if (options_.temperature == 0.0F) {
    return static_cast<int32_t>(
        kernels_.argmax(logits_.data(), static_cast<int64_t>(logits_.size())));
  }
  kernels_.scale(logits_.data(), 1.0F / options_.temperature, static_cast<int64_t>(logits_.size()));
  return Draw();
}

int32_t Sampler::Draw() {
  const double u = Uniform();
  ++drawn_;
  return options_.top_k > 0 ? DrawOfBest(u) : DrawOfAll(u);
}

// Draws in the order of the ids: no need to sort a vocabulary.
int32_t Sampler::DrawOfAll(double u) {
  const auto n = static_cast<int64_t>(logits_.size());
  const float max = kernels_.max(logits_.data(), n);
  if (options_.min_p > 0) {
    const float floor = max + std::log(options_.min_p);
    for (float& x : logits_) x = x >= floor ? x : kNever;
  }
  if (options_.top_p < 1) weights_ = logits_;
  std::vector<float>& weights = options_.top_p < 1 ? weights_ : logits_;
  auto total = static_cast<double>(kernels_.exp_sum(weights.data(), n, max));
  if (options_.top_p < 1 && std::isfinite(total)) {
    total = KeepNucleus(logits_, max, static_cast<double>(options_.top_p), total, weights);
  }
  double sum = 0;
  int32_t last = 0;
  for (int64_t i = 0; i < n; ++i) {
    const float p = weights[static_cast<size_t>(i)];
    if (p <= 0) continue;
    sum += static_cast<double>(p);
    last = static_cast<int32_t>(i);
    if (sum > u * total) break;
  }
  return last;
}

// With top-k: draws from the few that are left, best first.
int32_t Sampler::DrawOfBest(double u) const {
  const float max = kernels_.max(logits_.data(), static_cast<int64_t>(logits_.size()));
  const auto weight = [max](const Candidate& c) {
    return std::exp(static_cast<double>(c.logit - max));
  };
  const std::vector<Candidate> candidates = SelectTop(max);
  double total = 0;
  for (const Candidate& c : candidates) total += weight(c);
  double sum = 0;
  for (const Candidate& c : candidates) {
    sum += weight(c);
    if (sum > u * total) return c.id;
  }
  return candidates.back().id;
}

// The tokens with logits of at least `floor`, in the order of their ids.
std::vector<Sampler::Candidate> Sampler::AtLeast(float floor) const {
  std::vector<Candidate> found;
  for (size_t i = 0; i < logits_.size(); ++i) {
    if (logits_[i] >= floor && logits_[i] != kNever) {
      found.push_back({logits_[i], static_cast<int32_t>(i)});
    }
  }
  return found;
}

// What min-p, top-k and top-p leave, best first; at least one candidate.
std::vector<Sampler::Candidate> Sampler::SelectTop(float max) const {
  const float min_p_floor = options_.min_p > 0 ? max + std::log(options_.min_p) : kNever;
  const auto k = static_cast<size_t>(options_.top_k);
  // Looks at a slice below the maximum that grows until it holds enough.
  std::vector<Candidate> all;
  for (float depth = 1;; depth = depth < 64 ? 2 * depth : -kNever) {
    const float floor = std::max(max - depth, min_p_floor);
    all = AtLeast(floor);
    if (floor == min_p_floor || all.size() >= k) break;
  }
  if (all.empty()) {
    return {{max, static_cast<int32_t>(
                      kernels_.argmax(logits_.data(), static_cast<int64_t>(logits_.size())))}};
  }
  const auto better = [](const Candidate& a, const Candidate& b) {
    return a.logit != b.logit ? a.logit > b.logit : a.id < b.id;
  };
  if (k < all.size()) {
    std::nth_element(all.begin(), all.begin() + options_.top_k, all.end(), better);
    all.resize(k);
  }
  std::sort(all.begin(), all.end(), better);
  if (options_.top_p >= 1) return all;
  const auto weight = [max](const Candidate& c) {
    return std::exp(static_cast<double>(c.logit - max));
  };
  double everything = 0;
  for (const Candidate& c : all) everything += weight(c);
  const double mass = static_cast<double>(options_.top_p) * everything;
  double sum = 0;
  size_t keep = 0;
  while (keep < all.size() && (keep == 0 || sum < mass)) sum += weight(all[keep++]);
  all.resize(keep);
  return all;
}

double Sampler::Uniform() const {
  return static_cast<double>(Mix(Mix(*options_.seed) ^ drawn_) >> 11) * 0x1p-53;
}

TokenLogprob ComputeLogprob(std::span<const float> logits, int32_t token, int top,
                            const ElementwiseKernels& kernels) {
  const auto n = static_cast<int64_t>(logits.size());
  const float max = kernels.max(logits.data(), n);
  std::vector<float> exponents(logits.begin(), logits.end());
  const float log_sum = max + std::log(kernels.exp_sum(exponents.data(), n, max));
  TokenLogprob out;
  out.id = token;
  out.logprob = logits[static_cast<size_t>(token)] - log_sum;
  if (top <= 0) return out;
  std::vector<int32_t> ids(logits.size());
  for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>(i);
  const auto keep = std::min<size_t>(static_cast<size_t>(top), ids.size());
  std::partial_sort(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(keep), ids.end(),
                    [&logits](int32_t a, int32_t b) {
                      const float x = logits[static_cast<size_t>(a)];
                      const float y = logits[static_cast<size_t>(b)];
                      return x != y ? x > y : a < b;
                    });
  for (size_t i = 0; i < keep; ++i) {
    out.top.emplace_back(ids[i], logits[static_cast<size_t>(ids[i])] - log_sum);
  }
  return out;
}

}  // namespace inhouse::engine
