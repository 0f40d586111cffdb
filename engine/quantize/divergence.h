// How far one model's predictions are from another's, position by position.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

namespace inhouse::engine {

struct DivergenceSummary {
  int64_t positions = 0;
  double top1_agreement = 0;  // share of positions at which both hold the same token for likeliest
  double kl_mean = 0;         // KL(A || B) in nats
  double kl_p99 = 0;          // 99 of 100 positions have at most this
  double perplexity_a = 0;    // exp of the mean of -log p(the token that follows); NaN without any
  double perplexity_b = 0;
};

// Keeps a number for each position, no logits. One thread at a time.
class Divergence {
 public:
  // Logits of both for one position, of the same vocabulary, and the token that really follows.
  // Ties for the likeliest go to the lower id. A logit that is not finite makes the KL NaN.
  void Add(std::span<const float> a, std::span<const float> b, std::optional<int32_t> next);
  DivergenceSummary Summary() const;

 private:
  std::vector<double> kl_;
  int64_t agreed_ = 0;
  int64_t predicted_ = 0;
  double loss_a_ = 0;
  double loss_b_ = 0;
};

}  // namespace inhouse::engine
