#include "engine/models/dense/dense_config.h"

#include <cmath>
#include <optional>

#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Larger values than any real model's are taken for damage, and keep products of them inside int64.
constexpr int64_t kWidthMax = 1 << 20;
constexpr int64_t kLayersMax = 10000;
constexpr int64_t kVocabMax = 1 << 24;
constexpr int64_t kContextMax = int64_t{1} << 32;
constexpr double kFactorMax = 1e9;

absl::Status CheckHeads(const DenseConfig& c, const std::string& file) {
  if (c.heads % c.kv_heads != 0) {
    return base::InvalidInput(
        {.file = file,
         .field = "num_key_value_heads",
         .value = fmt::format("{}", c.kv_heads),
         .expected = fmt::format("a divisor of the {} query heads", c.heads)});
  }
  if (c.head_dim % 2 != 0 || c.rope.dim > c.head_dim || c.rope.dim % 2 != 0) {
    return base::InvalidInput({.file = file,
                               .field = "head_dim",
                               .value = fmt::format("{} (rotated: {})", c.head_dim, c.rope.dim),
                               .expected = "an even number, at least the rotated dimensions"});
  }
  return absl::OkStatus();
}

absl::Status CheckFamily(const ConfigJson& config, int64_t context) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string act, config.StringOr("hidden_act", "silu"));
  if (act != "silu") {
    return base::InvalidInput(
        {.file = config.path(), .field = "hidden_act", .value = act, .expected = "silu"});
  }
  INHOUSE_ASSIGN_OR_RETURN(const bool sliding, config.BoolOr("use_sliding_window", false));
  if (sliding) {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t window,
                             config.IntOr("sliding_window", kContextMax, {0, kContextMax}));
    if (window < context) {
      return base::InvalidInput({.file = config.path(),
                                 .field = "use_sliding_window",
                                 .value = "true",
                                 .expected = "false (sliding-window attention is not supported)"});
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<DenseConfig> FromJson(const ConfigJson& config, const std::string& architecture) {
  DenseConfig c;
  c.architecture = architecture;
  INHOUSE_ASSIGN_OR_RETURN(c.hidden_size, config.Int("hidden_size", {1, kWidthMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.intermediate_size, config.Int("intermediate_size", {1, kWidthMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.layers, config.Int("num_hidden_layers", {1, kLayersMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.heads, config.Int("num_attention_heads", {1, kWidthMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.kv_heads, config.IntOr("num_key_value_heads", c.heads, {1, c.heads}));
  INHOUSE_ASSIGN_OR_RETURN(c.head_dim,
                           config.IntOr("head_dim", c.hidden_size / c.heads, {1, kWidthMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.vocab_size, config.Int("vocab_size", {1, kVocabMax}));
  INHOUSE_ASSIGN_OR_RETURN(c.context_tokens,
                           config.IntOr("max_position_embeddings", 4096, {1, kContextMax}));
  INHOUSE_ASSIGN_OR_RETURN(const double eps, config.DoubleOr("rms_norm_eps", 1e-6, 0, 1));
  c.rms_norm_eps = static_cast<float>(eps);
  INHOUSE_ASSIGN_OR_RETURN(c.tied_embeddings, config.BoolOr("tie_word_embeddings", false));
  INHOUSE_ASSIGN_OR_RETURN(const bool attention_bias, config.BoolOr("attention_bias", false));
  INHOUSE_ASSIGN_OR_RETURN(c.mlp_bias, config.BoolOr("mlp_bias", false));
  c.qkv_bias = architecture == "qwen2" || attention_bias;
  c.o_bias = architecture != "qwen2" && attention_bias;
  c.qk_norm = architecture == "qwen3";
  INHOUSE_RETURN_IF_ERROR(CheckFamily(config, c.context_tokens));
  INHOUSE_ASSIGN_OR_RETURN(c.rope,
                           ReadRopeConfig(config, static_cast<int>(c.head_dim), c.context_tokens));
  INHOUSE_RETURN_IF_ERROR(CheckHeads(c, config.path()));
  return c;
}

absl::StatusOr<RopeConfig> RopeFromGguf(const GgufMetadata& gguf, const std::string& a,
                                        int head_dim, int64_t context) {
  RopeConfig rope;
  INHOUSE_ASSIGN_OR_RETURN(const int64_t dim,
                           gguf.IntOr(a + ".rope.dimension_count", head_dim, 2, kWidthMax));
  rope.dim = static_cast<int>(dim);
  INHOUSE_ASSIGN_OR_RETURN(rope.theta, gguf.DoubleOr(a + ".rope.freq_base", 10000.0, 1, 1e15));
  INHOUSE_ASSIGN_OR_RETURN(const double scale_linear,
                           gguf.DoubleOr(a + ".rope.scale_linear", 1.0, 1e-6, kFactorMax));
  INHOUSE_ASSIGN_OR_RETURN(
      const std::string type,
      gguf.StringOr(a + ".rope.scaling.type", scale_linear != 1.0 ? "linear" : "none"));
  INHOUSE_ASSIGN_OR_RETURN(
      rope.factor, gguf.DoubleOr(a + ".rope.scaling.factor", scale_linear, 1e-6, kFactorMax));
  if (type == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (type == "yarn") {
    rope.scaling = RopeScaling::kYarn;
    INHOUSE_ASSIGN_OR_RETURN(
        rope.original_context,
        gguf.DoubleOr(a + ".rope.scaling.original_context_length", static_cast<double>(context), 1,
                      static_cast<double>(kContextMax)));
    INHOUSE_ASSIGN_OR_RETURN(const double attn,
                             gguf.DoubleOr(a + ".rope.scaling.attn_factor", 1.0, 1e-3, 1e3));
    INHOUSE_ASSIGN_OR_RETURN(rope.beta_fast,
                             gguf.DoubleOr(a + ".rope.scaling.yarn_beta_fast", 32.0, 1e-3, 1e6));
    INHOUSE_ASSIGN_OR_RETURN(rope.beta_slow,
                             gguf.DoubleOr(a + ".rope.scaling.yarn_beta_slow", 1.0, 1e-3, 1e6));
    rope.attention_factor = attn * (rope.factor > 1 ? 0.1 * std::log(rope.factor) + 1 : 1);
  } else if (type != "none") {
    return base::InvalidInput({.file = gguf.path(),
                               .field = a + ".rope.scaling.type",
                               .value = type,
                               .expected = "none, linear or yarn"});
  }
  return rope;
}

absl::StatusOr<DenseConfig> FromGguf(const Checkpoint& checkpoint, const std::string& a) {
  const GgufMetadata& gguf = *checkpoint.gguf;
  DenseConfig c;
  c.architecture = a;
  INHOUSE_ASSIGN_OR_RETURN(c.hidden_size, gguf.Int(a + ".embedding_length", 1, kWidthMax));
  INHOUSE_ASSIGN_OR_RETURN(c.intermediate_size, gguf.Int(a + ".feed_forward_length", 1, kWidthMax));
  INHOUSE_ASSIGN_OR_RETURN(c.layers, gguf.Int(a + ".block_count", 1, kLayersMax));
  INHOUSE_ASSIGN_OR_RETURN(c.heads, gguf.Int(a + ".attention.head_count", 1, kWidthMax));
  INHOUSE_ASSIGN_OR_RETURN(c.kv_heads,
                           gguf.IntOr(a + ".attention.head_count_kv", c.heads, 1, c.heads));
  INHOUSE_ASSIGN_OR_RETURN(
      c.head_dim, gguf.IntOr(a + ".attention.key_length", c.hidden_size / c.heads, 1, kWidthMax));
  INHOUSE_ASSIGN_OR_RETURN(const int64_t value_length,
                           gguf.IntOr(a + ".attention.value_length", c.head_dim, 1, kWidthMax));
  if (value_length != c.head_dim) {
    return base::InvalidInput({.file = gguf.path(),
                               .field = a + ".attention.value_length",
                               .value = fmt::format("{}", value_length),
                               .expected = fmt::format("the key length, {}", c.head_dim)});
  }
  INHOUSE_ASSIGN_OR_RETURN(c.context_tokens,
                           gguf.IntOr(a + ".context_length", 4096, 1, kContextMax));
  INHOUSE_ASSIGN_OR_RETURN(const double eps,
                           gguf.DoubleOr(a + ".attention.layer_norm_rms_epsilon", 1e-6, 0, 1));
  c.rms_norm_eps = static_cast<float>(eps);
  // The embedding table tells the vocabulary: the key is often missing.
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* embedding,
                           checkpoint.tensors.Require("token_embd.weight"));
  c.vocab_size = embedding->view.rows();
  const TensorTable& t = checkpoint.tensors;
  c.qkv_bias = t.Find("blk.0.attn_q.bias") != nullptr;
  c.o_bias = t.Find("blk.0.attn_output.bias") != nullptr;
  c.mlp_bias = t.Find("blk.0.ffn_down.bias") != nullptr;
  c.qk_norm = a == "qwen3";
  c.permuted_qk = a == "llama";
  INHOUSE_ASSIGN_OR_RETURN(c.rope,
                           RopeFromGguf(gguf, a, static_cast<int>(c.head_dim), c.context_tokens));
  INHOUSE_RETURN_IF_ERROR(CheckHeads(c, gguf.path()));
  return c;
}

// The rope block in either spelling; `theta` is set from wherever it stands.
struct RopeBlock {
  std::optional<ConfigJson> block;
  double theta = 10000.0;
  std::string type = "default";
};

absl::StatusOr<RopeBlock> FindRopeBlock(const ConfigJson& config) {
  RopeBlock out;
  INHOUSE_ASSIGN_OR_RETURN(out.block, config.Object("rope_parameters"));
  if (!out.block) {
    INHOUSE_ASSIGN_OR_RETURN(out.block, config.Object("rope_scaling"));
  }
  INHOUSE_ASSIGN_OR_RETURN(out.theta, config.DoubleOr("rope_theta", 10000.0, 1, 1e15));
  if (!out.block) return out;
  INHOUSE_ASSIGN_OR_RETURN(out.theta, out.block->DoubleOr("rope_theta", out.theta, 1, 1e15));
  INHOUSE_ASSIGN_OR_RETURN(const std::string old_type, out.block->StringOr("type", "default"));
  INHOUSE_ASSIGN_OR_RETURN(out.type, out.block->StringOr("rope_type", old_type));
  return out;
}

absl::Status ReadYarn(const ConfigJson& block, RopeConfig& rope) {
  rope.scaling = RopeScaling::kYarn;
  INHOUSE_ASSIGN_OR_RETURN(rope.beta_fast, block.DoubleOr("beta_fast", 32.0, 1e-3, 1e6));
  INHOUSE_ASSIGN_OR_RETURN(rope.beta_slow, block.DoubleOr("beta_slow", 1.0, 1e-3, 1e6));
  INHOUSE_ASSIGN_OR_RETURN(rope.truncate, block.BoolOr("truncate", true));
  const auto mscale = [&rope](double m) {
    return rope.factor <= 1 ? 1.0 : 0.1 * m * std::log(rope.factor) + 1;
  };
  double factor = mscale(1);
  INHOUSE_ASSIGN_OR_RETURN(const double m, block.DoubleOr("mscale", 0, 0, 1e3));
  INHOUSE_ASSIGN_OR_RETURN(const double all, block.DoubleOr("mscale_all_dim", 0, 0, 1e3));
  if (m != 0 && all != 0) factor = mscale(m) / mscale(all);
  INHOUSE_ASSIGN_OR_RETURN(rope.attention_factor,
                           block.DoubleOr("attention_factor", factor, 1e-3, 1e3));
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RopeConfig> ReadRopeConfig(const ConfigJson& config, int head_dim,
                                          int64_t max_position) {
  INHOUSE_ASSIGN_OR_RETURN(const RopeBlock found, FindRopeBlock(config));
  RopeConfig rope;
  rope.theta = found.theta;
  INHOUSE_ASSIGN_OR_RETURN(double partial, config.DoubleOr("partial_rotary_factor", 1.0, 0, 1));
  if (found.block) {
    INHOUSE_ASSIGN_OR_RETURN(partial,
                             found.block->DoubleOr("partial_rotary_factor", partial, 0, 1));
  }
  rope.dim = static_cast<int>(head_dim * partial);
  if (found.type == "default") return rope;
  const ConfigJson& block = *found.block;
  INHOUSE_ASSIGN_OR_RETURN(rope.factor, block.Double("factor", 1e-6, kFactorMax));
  INHOUSE_ASSIGN_OR_RETURN(
      rope.original_context,
      block.DoubleOr("original_max_position_embeddings", static_cast<double>(max_position), 1,
                     static_cast<double>(kContextMax)));
  if (found.type == "linear") {
    rope.scaling = RopeScaling::kLinear;
  } else if (found.type == "llama3") {
    rope.scaling = RopeScaling::kLlama3;
    INHOUSE_ASSIGN_OR_RETURN(rope.low_freq_factor,
                             block.Double("low_freq_factor", 1e-6, kFactorMax));
    INHOUSE_ASSIGN_OR_RETURN(rope.high_freq_factor,
                             block.Double("high_freq_factor", 1e-6, kFactorMax));
    if (rope.high_freq_factor <= rope.low_freq_factor) {
      return base::InvalidInput({.file = block.path(),
                                 .field = "high_freq_factor",
                                 .value = fmt::format("{}", rope.high_freq_factor),
                                 .expected = "more than low_freq_factor"});
    }
  } else if (found.type == "yarn") {
    INHOUSE_RETURN_IF_ERROR(ReadYarn(block, rope));
  } else {
    return base::InvalidInput({.file = block.path(),
                               .field = "rope_type",
                               .value = found.type,
                               .expected = "default, linear, llama3 or yarn"});
  }
  return rope;
}

absl::StatusOr<DenseConfig> ReadDenseConfig(const Checkpoint& checkpoint,
                                            const std::string& architecture) {
  if (checkpoint.gguf) return FromGguf(checkpoint, architecture);
  return FromJson(*checkpoint.config, architecture);
}

}  // namespace inhouse::engine
