#include "engine/quantize/gguf_source.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <numbers>
#include <string>
#include <utility>
#include <vector>

#include "base/status.h"
#include "engine/kernels/kernel_table.h"
#include "engine/models/architecture.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using nlohmann::ordered_json;

struct NamePair {
  std::string_view gguf;
  std::string_view hugging_face;
};

constexpr NamePair kOutside[] = {
    {"token_embd", "model.embed_tokens"}, {"output_norm", "model.norm"}, {"output", "lm_head"}};

constexpr NamePair kInLayer[] = {
    {"attn_norm", "input_layernorm"},    {"attn_q", "self_attn.q_proj"},
    {"attn_k", "self_attn.k_proj"},      {"attn_v", "self_attn.v_proj"},
    {"attn_output", "self_attn.o_proj"}, {"attn_q_norm", "self_attn.q_norm"},
    {"attn_k_norm", "self_attn.k_norm"}, {"ffn_norm", "post_attention_layernorm"},
    {"ffn_gate", "mlp.gate_proj"},       {"ffn_up", "mlp.up_proj"},
    {"ffn_down", "mlp.down_proj"}};

// "" if `gguf` is not in the table.
template <size_t kSize>
std::string Lookup(const NamePair (&table)[kSize], std::string_view gguf) {
  for (const NamePair& name : table) {
    if (name.gguf == gguf) return std::string(name.hugging_face);
  }
  return "";
}

// "blk.3.attn_q" -> "model.layers.3.self_attn.q_proj"; "" if it is unknown.
std::string TranslateModule(std::string_view gguf, int64_t layers) {
  constexpr std::string_view kBlock = "blk.";
  if (!gguf.starts_with(kBlock)) return Lookup(kOutside, gguf);
  gguf.remove_prefix(kBlock.size());
  int64_t layer = -1;
  const auto [end, error] = std::from_chars(gguf.data(), gguf.data() + gguf.size(), layer);
  if (error != std::errc() || layer < 0 || layer >= layers || end == gguf.data() + gguf.size() ||
      *end != '.') {
    return "";
  }
  const std::string inner = Lookup(kInLayer, {end + 1, gguf.data() + gguf.size()});
  return inner.empty() ? "" : fmt::format("model.layers.{}.{}", layer, inner);
}

// Row (half s, pair i) of a head is stored as row 2 i + s.
std::vector<int64_t> UnpermutedRows(int64_t heads, int64_t head_dim) {
  std::vector<int64_t> order;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < head_dim / 2; ++i) order.push_back(head * head_dim + 2 * i + s);
    }
  }
  return order;
}

// A float32 as the shortest decimal that gives it back: 1e-05 and not 9.999999747378752e-06.
double ShortestDouble(float value) {
  std::array<char, 32> text{};
  const auto written = std::to_chars(text.data(), text.data() + text.size(), value);
  double out = value;
  std::from_chars(text.data(), written.ptr, out);
  return out;
}

// Divisors by which Llama 3's rule scales the frequencies of `rope`.
std::vector<double> Llama3Divisors(RopeConfig rope) {
  const std::vector<double> scaled = RopeFrequencies(rope);
  rope.scaling = RopeScaling::kNone;
  std::vector<double> divisors = RopeFrequencies(rope);
  for (size_t i = 0; i < divisors.size(); ++i) divisors[i] /= scaled[i];
  return divisors;
}

// The rule's parameters from its divisors. Between the two bounds the rule is a line: with
// x = frequency / 2 pi, (1 / divisor - 1 / factor) / (1 - 1 / factor) = (original x - low) /
// (high - low). A line has two parameters, so low may be 1.
std::vector<RopeConfig> Llama3Guesses(const RopeConfig& plain, const std::vector<float>& divisors) {
  const std::vector<double> frequencies = RopeFrequencies(plain);
  RopeConfig guess = plain;
  guess.scaling = RopeScaling::kLlama3;
  guess.factor =
      std::round(static_cast<double>(*std::max_element(divisors.begin(), divisors.end())));
  std::vector<std::pair<double, double>> line;
  for (size_t i = 0; i < divisors.size(); ++i) {
    const double s =
        (1 / static_cast<double>(divisors[i]) - 1 / guess.factor) / (1 - 1 / guess.factor);
    if (s > 1e-3 && s < 1 - 1e-3) line.emplace_back(frequencies[i] / (2 * std::numbers::pi), s);
  }
  std::vector<RopeConfig> guesses;
  if (line.size() >= 2) {
    const auto& [x0, s0] = line.front();
    const auto& [x1, s1] = line.back();
    const double slope = (s1 - s0) / (x1 - x0);
    const double offset = slope * x0 - s0;
    RopeConfig solved = guess;
    solved.high_freq_factor = 1 + 1 / offset;
    // Published values are round.
    if (std::abs(solved.high_freq_factor - std::round(solved.high_freq_factor)) < 1e-2) {
      solved.high_freq_factor = std::round(solved.high_freq_factor);
    }
    solved.original_context = std::round(slope / offset);
    guesses.push_back(solved);
  }
  // One point, and Llama's own low = 1 and high = 4; no point at all: one of the usual contexts.
  if (!line.empty()) {
    guess.original_context = std::round((3 * line.front().second + 1) / line.front().first);
    guesses.push_back(guess);
  }
  for (const double original : {8192.0, 4096.0, 16384.0, 32768.0}) {
    guess.original_context = original;
    guesses.push_back(guess);
  }
  return guesses;
}

// The converters write Llama 3's scaling as a tensor of divisors.
absl::StatusOr<ordered_json> Llama3Scaling(const Checkpoint& checkpoint, const DenseConfig& dense) {
  const auto n = static_cast<int64_t>(dense.rope.dim / 2);
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* tensor,
                           checkpoint.tensors.Require("rope_freqs.weight", {n}));
  std::vector<float> divisors(static_cast<size_t>(n));
  DequantizeRow(tensor->view.dtype, tensor->view.row(0), n, divisors.data());
  RopeConfig plain = dense.rope;
  plain.scaling = RopeScaling::kNone;
  plain.frequency_divisors.clear();
  for (const RopeConfig& guess : Llama3Guesses(plain, divisors)) {
    if (!(guess.factor > 1 && guess.original_context > 0 && guess.high_freq_factor > 1)) continue;
    const std::vector<double> found = Llama3Divisors(guess);
    const bool equal = std::equal(found.begin(), found.end(), divisors.begin(),
                                  [](double a, float b) { return std::abs(a / b - 1) < 1e-4; });
    if (!equal) continue;
    return ordered_json{
        {"rope_type", "llama3"},
        {"factor", guess.factor},
        {"low_freq_factor", guess.low_freq_factor},
        {"high_freq_factor", guess.high_freq_factor},
        {"original_max_position_embeddings", static_cast<int64_t>(guess.original_context)}};
  }
  return base::InvalidInput({.file = tensor->file->path(),
                             .field = "rope_freqs.weight",
                             .expected = "divisors that Llama 3's scaling gives"});
}

// Null if the frequencies are not scaled.
absl::StatusOr<ordered_json> RopeScalingOf(const Checkpoint& checkpoint, const DenseConfig& dense) {
  if (checkpoint.tensors.Find("rope_freqs.weight") != nullptr) {
    return Llama3Scaling(checkpoint, dense);
  }
  const RopeConfig& rope = dense.rope;
  switch (rope.scaling) {
    case RopeScaling::kNone:
    case RopeScaling::kLlama3:
      return ordered_json(nullptr);
    case RopeScaling::kLinear:
      if (rope.factor == 1.0) return ordered_json(nullptr);
      return ordered_json{{"rope_type", "linear"}, {"factor", rope.factor}};
    case RopeScaling::kYarn:
      return ordered_json{
          {"rope_type", "yarn"},
          {"factor", rope.factor},
          {"original_max_position_embeddings", static_cast<int64_t>(rope.original_context)},
          {"attention_factor", rope.attention_factor},
          {"beta_fast", rope.beta_fast},
          {"beta_slow", rope.beta_slow}};
  }
  return ordered_json(nullptr);
}

std::string ClassOf(const std::string& architecture) {
  if (architecture == "qwen2") return "Qwen2ForCausalLM";
  return architecture == "qwen3" ? "Qwen3ForCausalLM" : "LlamaForCausalLM";
}

absl::StatusOr<ordered_json> TokenIds(const GgufMetadata& gguf) {
  ordered_json out = ordered_json::object();
  constexpr std::pair<const char*, const char*> kKeys[] = {
      {"bos_token_id", "tokenizer.ggml.bos_token_id"},
      {"eos_token_id", "tokenizer.ggml.eos_token_id"},
      {"pad_token_id", "tokenizer.ggml.padding_token_id"}};
  for (const auto& [name, key] : kKeys) {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t id, gguf.IntOr(key, -1, -1, UINT32_MAX));
    if (id >= 0 && id < UINT32_MAX) out[name] = id;  // converters write 2^32 - 1 for "none"
  }
  return out;
}

absl::StatusOr<ordered_json> MakeConfig(const Checkpoint& checkpoint, const DenseConfig& dense) {
  const bool tied = checkpoint.tensors.Find("output.weight") == nullptr;
  ordered_json out = {{"architectures", {ClassOf(dense.architecture)}},
                      {"model_type", dense.architecture},
                      {"hidden_size", dense.hidden_size},
                      {"intermediate_size", dense.intermediate_size},
                      {"num_hidden_layers", dense.layers},
                      {"num_attention_heads", dense.heads},
                      {"num_key_value_heads", dense.kv_heads},
                      {"head_dim", dense.head_dim},
                      {"vocab_size", dense.vocab_size},
                      {"max_position_embeddings", dense.context_tokens},
                      {"hidden_act", "silu"},
                      {"rms_norm_eps", ShortestDouble(static_cast<float>(dense.rms_norm_eps))},
                      {"rope_theta", dense.rope.theta}};
  INHOUSE_ASSIGN_OR_RETURN(const ordered_json scaling, RopeScalingOf(checkpoint, dense));
  if (!scaling.is_null()) out["rope_scaling"] = scaling;
  if (dense.rope.dim != dense.head_dim) {
    out["partial_rotary_factor"] =
        static_cast<double>(dense.rope.dim) / static_cast<double>(dense.head_dim);
  }
  if (dense.architecture != "qwen2") out["attention_bias"] = dense.qkv_bias;
  if (dense.architecture == "llama") out["mlp_bias"] = dense.mlp_bias;
  out["tie_word_embeddings"] = tied;
  INHOUSE_ASSIGN_OR_RETURN(const ordered_json ids, TokenIds(*checkpoint.gguf));
  out.update(ids);
  out["torch_dtype"] = "bfloat16";
  return out;
}

}  // namespace

absl::StatusOr<GgufModel> ReadGgufModel(const Checkpoint& checkpoint) {
  INHOUSE_ASSIGN_OR_RETURN(const Architecture* architecture, FindArchitecture(checkpoint));
  GgufModel model;
  INHOUSE_ASSIGN_OR_RETURN(model.dense, ReadDenseConfig(checkpoint, architecture->name));
  INHOUSE_ASSIGN_OR_RETURN(model.config, MakeConfig(checkpoint, model.dense));
  return model;
}

absl::StatusOr<ordered_json> GgufGenerationConfig(const GgufMetadata& gguf) {
  return TokenIds(gguf);
}

absl::StatusOr<std::optional<SourceTensor>> GgufModel::Translate(const StoredTensor& tensor) const {
  if (tensor.name == "rope_freqs.weight") return std::nullopt;
  const size_t dot = tensor.name.rfind('.');
  const std::string module =
      dot == std::string::npos ? "" : TranslateModule({tensor.name.data(), dot}, dense.layers);
  const std::string kind = dot == std::string::npos ? "" : tensor.name.substr(dot);
  if (module.empty() || (kind != ".weight" && kind != ".bias")) {
    return base::InvalidInput({.file = tensor.file->path(),
                               .field = "tensor name",
                               .value = tensor.name,
                               .expected = fmt::format("a tensor of {}", dense.architecture)});
  }
  SourceTensor out{.name = module + kind, .shape = tensor.view.shape, .stored = &tensor};
  if (out.is_matrix()) out.matrix = StoredMatrix(tensor);
  const bool q = module.ends_with(".q_proj");
  if (dense.permuted_qk && (q || module.ends_with(".k_proj"))) {
    const int64_t heads = q ? dense.heads : dense.kv_heads;
    out.row_order = UnpermutedRows(heads, dense.head_dim);
    if (tensor.view.shape.front() != heads * dense.head_dim) {
      return base::InvalidInput({.file = tensor.file->path(),
                                 .field = tensor.name,
                                 .value = ToString(tensor.view.shape),
                                 .expected = fmt::format("{} rows", heads * dense.head_dim)});
    }
  }
  return out;
}

}  // namespace inhouse::engine
