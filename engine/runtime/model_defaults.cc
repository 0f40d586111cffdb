#include "engine/runtime/model_defaults.h"

#include <algorithm>
#include <vector>

#include "base/status.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kIdMax = 1 << 24;

// Tokens that end a turn in one family or another. GGUF files often name only one of them.
constexpr const char* kTurnEnds[] = {
    "<|im_end|>",    "<|eot_id|>",      "<|eom_id|>",           "<|EOT|>",
    "<|endoftext|>", "<|end_of_text|>", "<｜end▁of▁sentence｜>"};

void AddEnd(int64_t id, ModelInfo* info) {
  if (id < 0 || id >= info->vocab_size) return;
  const auto token = static_cast<TokenId>(id);
  if (std::find(info->end_tokens.begin(), info->end_tokens.end(), token) ==
      info->end_tokens.end()) {
    info->end_tokens.push_back(token);
  }
}

absl::Status ReadSampling(const ConfigJson& config, SamplingOptions* sampling) {
  INHOUSE_ASSIGN_OR_RETURN(const bool sample, config.BoolOr("do_sample", true));
  INHOUSE_ASSIGN_OR_RETURN(const double temperature, config.DoubleOr("temperature", 1.0, 0, 100));
  INHOUSE_ASSIGN_OR_RETURN(const double top_p, config.DoubleOr("top_p", 1.0, 0, 1));
  INHOUSE_ASSIGN_OR_RETURN(const double min_p, config.DoubleOr("min_p", 0.0, 0, 1));
  INHOUSE_ASSIGN_OR_RETURN(const int64_t top_k, config.IntOr("top_k", 0, {-1, kIdMax}));
  INHOUSE_ASSIGN_OR_RETURN(const double repetition,
                           config.DoubleOr("repetition_penalty", 1.0, 1e-3, 1e3));
  sampling->repetition_penalty = static_cast<float>(repetition);
  // A file with do_sample: false means greedy; the others' sampling values are then only leftovers.
  if (!sample && config.Has("do_sample") && !config.Has("temperature")) return absl::OkStatus();
  sampling->temperature = static_cast<float>(temperature);
  sampling->top_p = static_cast<float>(top_p);
  sampling->min_p = static_cast<float>(min_p);
  sampling->top_k = static_cast<int>(std::max<int64_t>(top_k, 0));
  return absl::OkStatus();
}

}  // namespace

absl::Status ReadModelDefaults(const Checkpoint& checkpoint, const Tokenizer* tokenizer,
                               ModelInfo* info) {
  const std::optional<ConfigJson>& generation = checkpoint.generation_config;
  for (const std::optional<ConfigJson>* config : {&generation, &checkpoint.config}) {
    if (!*config) continue;
    INHOUSE_ASSIGN_OR_RETURN(const std::vector<int64_t> ids,
                             (*config)->Ints("eos_token_id", {-1, kIdMax}));
    for (const int64_t id : ids) AddEnd(id, info);
  }
  // Without a file of its own: what the R1 model cards ask for, which suits small and quantized
  // models too.
  info->default_sampling.temperature = 0.6F;
  info->default_sampling.top_p = 0.95F;
  if (generation) {
    info->default_sampling = {};
    INHOUSE_RETURN_IF_ERROR(ReadSampling(*generation, &info->default_sampling));
  }
  if (checkpoint.gguf) {
    for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
      INHOUSE_ASSIGN_OR_RETURN(const int64_t id,
                               checkpoint.gguf->IntOr(key, -1, -1, int64_t{1} << 40));
      AddEnd(id, info);
    }
  }
  if (tokenizer == nullptr) return absl::OkStatus();
  if (tokenizer->eos()) AddEnd(*tokenizer->eos(), info);
  if (!checkpoint.gguf) return absl::OkStatus();
  for (const char* content : kTurnEnds) {
    const auto id = tokenizer->TokenToId(content);
    if (id && tokenizer->IsSpecial(*id)) AddEnd(*id, info);
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
