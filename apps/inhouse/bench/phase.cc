#include "apps/inhouse/bench/phase.h"

#include <algorithm>

#include "apps/inhouse/progress.h"
#include "fmt/format.h"

namespace inhouse::apps {
namespace {

// Mean length of the caches while the phase decodes.
double CachedTokens(const Phase& phase) {
  return static_cast<double>(phase.depth) + static_cast<double>(phase.tokens) / 2;
}

void AddOps(const engine::ProductInfo& product, double rows, Cost* cost) {
  for (size_t unit = 0; unit < engine::kDotUnits; ++unit) {
    if (product.arithmetic == Name(static_cast<engine::DotUnit>(unit))) {
      cost->dot_ops[unit] += static_cast<double>(product.ops) * rows;
    }
  }
}

}  // namespace

Cost CostOf(const engine::ModelInfo& model, const Phase& phase, int64_t prefill_chunk) {
  Cost cost;
  cost.tokens = static_cast<double>(phase.prefill() ? phase.tokens : phase.batch);
  const int64_t steps =
      phase.prefill() ? (phase.tokens + prefill_chunk - 1) / std::max<int64_t>(prefill_chunk, 1)
                      : 1;
  for (const engine::ProductInfo& product : model.products) {
    const bool head = product.op == engine::OpClass::kHead;
    AddOps(product, head && phase.prefill() ? 1 : cost.tokens, &cost);
    cost.bytes += static_cast<double>(product.weight_bytes * (head ? 1 : steps));
  }
  if (!phase.prefill()) {
    cost.bytes += phase.batch * CachedTokens(phase) * static_cast<double>(model.bytes.kv_per_token);
  }
  return cost;
}

Cost CostOf(const engine::ModelInfo& model, engine::OpClass op, const Phase& phase, int64_t steps,
            int64_t rows) {
  Cost cost;
  const bool head = op == engine::OpClass::kHead;
  cost.tokens = static_cast<double>(head && phase.prefill() ? steps : rows);
  for (const engine::ProductInfo& product : model.products) {
    if (product.op != op) continue;
    AddOps(product, cost.tokens, &cost);
    cost.bytes += static_cast<double>(product.weight_bytes * steps);
  }
  if (op == engine::OpClass::kAttention && !phase.prefill()) {
    cost.bytes = static_cast<double>(rows) * CachedTokens(phase) *
                 static_cast<double>(model.bytes.kv_per_token);
  }
  return cost;
}

double MemorySeconds(const Cost& cost, const engine::MachineLimits& limits) {
  return cost.bytes > 0 ? cost.bytes / (limits.memory_read_gb_s * 1e9) : 0;
}

double ArithmeticSeconds(const Cost& cost, const engine::MachineLimits& limits) {
  double seconds = 0;
  for (size_t unit = 0; unit < engine::kDotUnits; ++unit) {
    if (cost.dot_ops[unit] > 0) seconds += cost.dot_ops[unit] / (limits.dot_gop_s[unit] * 1e9);
  }
  return seconds;
}

double LimitSeconds(const Cost& cost, const engine::MachineLimits& limits) {
  return std::max(MemorySeconds(cost, limits), ArithmeticSeconds(cost, limits));
}

std::string WhyNot(const engine::ModelInfo& model, const Phase& phase) {
  const int64_t length = phase.depth + phase.tokens + 1;
  if (length > model.model_context_tokens) {
    return fmt::format("{} tokens, and the model's context has {}", length,
                       model.model_context_tokens);
  }
  const int64_t needed = phase.batch * length * model.bytes.kv_per_token;
  if (needed > model.bytes.kv || length > model.context_tokens) {
    return fmt::format("the cache needs {}, and {} fit into memory",
                       FormatBinaryBytes(static_cast<double>(needed)),
                       FormatBinaryBytes(static_cast<double>(model.bytes.kv)));
  }
  return "";
}

double Median(std::vector<double> values) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const size_t n = values.size();
  return (values[(n - 1) / 2] + values[n / 2]) / 2;
}

}  // namespace inhouse::apps
