#include "engine/runtime/byte_plan.h"

#include <algorithm>
#include <fstream>
#include <string>
#include <string_view>
#include <utility>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// A step computes this many rows of logits at most: prompts whose logits are all wanted are cut
// into such chunks.
constexpr int64_t kLogitRows = 64;
// Left to the operating system, the page cache of the embedding table and the process itself.
constexpr int64_t kReserve = 256LL << 20;

// A limit file holds a number or "max"; 0 = none.
int64_t ReadNumber(const char* path) {
  std::ifstream file(path);
  int64_t value = 0;
  return file >> value ? value : 0;
}

std::string Bytes(int64_t bytes) {
  constexpr double kMiB = 1024.0 * 1024.0;
  const double mib = static_cast<double>(bytes) / kMiB;
  if (mib < 1) return fmt::format("{:.1f} KiB", mib * 1024);
  return mib < 1024 ? fmt::format("{:.1f} MiB", mib) : fmt::format("{:.2f} GiB", mib / 1024);
}

constexpr std::pair<std::string_view, DType> kKvTypes[] = {
    {"f32", DType::kF32}, {"f16", DType::kF16}, {"bf16", DType::kBF16}, {"fp8", DType::kF8E4M3}};

std::string KvTypeName(DType kv) {
  for (const auto& [name, type] : kKvTypes) {
    if (type == kv) return std::string(name);
  }
  return std::string(Name(kv));
}

}  // namespace

absl::StatusOr<std::optional<DType>> ParseKvType(const std::string& name) {
  if (name == "auto") return std::nullopt;
  for (const auto& [known, type] : kKvTypes) {
    if (name == known) return type;
  }
  return base::InvalidInput(
      {.field = "kv_type", .value = name, .expected = "auto, f32, f16, bf16 or fp8"});
}

int64_t AvailableMemory() {
  int64_t available = int64_t{1} << 62;
  std::ifstream meminfo("/proc/meminfo");
  std::string line;
  while (std::getline(meminfo, line)) {
    if (line.rfind("MemAvailable:", 0) == 0) {
      available = std::strtoll(line.c_str() + 13, nullptr, 10) << 10;
    }
  }
  const int64_t limit = ReadNumber("/sys/fs/cgroup/memory.max");
  if (limit > 0)
    available = std::min(available, limit - ReadNumber("/sys/fs/cgroup/memory.current"));
  return std::max<int64_t>(available, 0);
}

absl::StatusOr<BytePlan> PlanBytes(const Model& model, const EngineOptions& options,
                                   const AdapterPlan& adapters, int threads, int64_t available) {
  const ModelFacts& facts = model.facts();
  BytePlan plan;
  plan.available = available;
  const int64_t context = options.context_tokens > 0
                              ? std::min(options.context_tokens, facts.context_tokens)
                              : facts.context_tokens;
  plan.limits.sequences = std::max(options.max_sequences, 1);
  plan.limits.rows = std::max<int64_t>(options.prefill_chunk, 1) + plan.limits.sequences;
  plan.limits.logit_rows = std::max(kLogitRows, plan.limits.sequences);
  plan.limits.context_tokens = context;
  plan.limits.adapter_rank = adapters.rank_max;
  plan.bytes.weights = facts.weight_bytes;
  plan.bytes.kv_per_token = facts.page_bytes / kPageTokens;
  plan.bytes.kv_type = KvTypeName(facts.kv);
  plan.bytes.scratch = model.ScratchBytes(plan.limits, threads);
  plan.bytes.adapters = std::max(adapters.bytes, options.adapter_bytes);
  const int64_t left =
      available - plan.bytes.weights - plan.bytes.scratch - plan.bytes.adapters - kReserve;
  const int64_t one_context = (context + kPageTokens - 1) / kPageTokens;
  // By default: four whole contexts, or half of what is left, but one whole context if that fits at
  // all.
  int64_t pages = std::min(4 * one_context, left / 2 / facts.page_bytes);
  pages = std::max(pages, std::min(one_context, left / facts.page_bytes));
  if (options.kv_bytes > 0) pages = options.kv_bytes / facts.page_bytes;
  if (options.kv_tokens > 0) {
    pages = std::min((options.kv_tokens + kPageTokens - 1) / kPageTokens, left / facts.page_bytes);
  }
  plan.pages = std::max<int64_t>(pages, 0);
  plan.bytes.kv = plan.pages * facts.page_bytes;
  plan.limits.context_tokens = std::min(context, plan.pages * kPageTokens);
  const bool whole = options.context_tokens > 0 && options.kv_bytes == 0 && options.kv_tokens == 0;
  const int64_t least = whole ? one_context : 1;
  if (plan.pages < least || plan.bytes.kv > left) {
    plan.bytes.kv = std::max(plan.bytes.kv, least * facts.page_bytes);
    plan.limits.context_tokens =
        std::max(plan.limits.context_tokens, std::min(context, least * kPageTokens));
    return base::InputError(
        absl::StatusCode::kResourceExhausted,
        {.file = options.model,
         .field = "memory",
         .value = Bytes(plan.total() + kReserve),
         .expected = fmt::format("at most {} available: {}", Bytes(available), Describe(plan)),
         .hint = "Use a smaller --context or KV cache, a smaller or quantized model, or a larger "
                 "machine."});
  }
  const int64_t spare = options.adapter_bytes > 0 ? 0 : left - plan.bytes.kv;
  plan.adapter_bytes_max = plan.bytes.adapters + spare;
  return plan;
}

std::string Describe(const BytePlan& plan) {
  const std::string adapters =
      plan.bytes.adapters > 0 ? fmt::format(" + adapters {}", Bytes(plan.bytes.adapters)) : "";
  return fmt::format(
      "weights {} + KV {} ({} tokens in {}, {} a token) + scratch {}{} = {} of {} available",
      Bytes(plan.bytes.weights), Bytes(plan.bytes.kv), plan.pages * kPageTokens, plan.bytes.kv_type,
      Bytes(plan.bytes.kv_per_token), Bytes(plan.bytes.scratch), adapters, Bytes(plan.total()),
      Bytes(plan.available));
}

}  // namespace inhouse::engine
