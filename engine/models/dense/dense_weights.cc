#include "engine/models/dense/dense_weights.h"

#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_finder.h"
#include "engine/kernels/kernel_table.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// How the two kinds of file call the same tensors; `{}` is the layer.
struct Names {
  const char* embedding;
  const char* final_norm;
  const char* head;
  const char* layer;  // prefix of the following
  const char* attention_norm;
  const char* q;
  const char* k;
  const char* v;
  const char* o;
  const char* q_norm;
  const char* k_norm;
  const char* mlp_norm;
  const char* gate;
  const char* up;
  const char* down;
};

constexpr Names kHuggingFace = {
    "model.embed_tokens", "model.norm",       "lm_head",          "model.layers.{}.",
    "input_layernorm",    "self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj",
    "self_attn.o_proj",   "self_attn.q_norm", "self_attn.k_norm", "post_attention_layernorm",
    "mlp.gate_proj",      "mlp.up_proj",      "mlp.down_proj"};

constexpr Names kGguf = {"token_embd",  "output_norm", "output",   "blk.{}.",     "attn_norm",
                         "attn_q",      "attn_k",      "attn_v",   "attn_output", "attn_q_norm",
                         "attn_k_norm", "ffn_norm",    "ffn_gate", "ffn_up",      "ffn_down"};

// HF row (half s, pair i) of a head is stored as row 2 i + s.
std::vector<int64_t> UnpermutedRows(int64_t heads, int64_t head_dim) {
  std::vector<int64_t> order;
  for (int64_t head = 0; head < heads; ++head) {
    for (int64_t s = 0; s < 2; ++s) {
      for (int64_t i = 0; i < head_dim / 2; ++i) order.push_back(head * head_dim + 2 * i + s);
    }
  }
  return order;
}

class Binder {
 public:
  Binder(const Checkpoint& checkpoint, const MatrixFinder& matrices, const BindOptions& options,
         DenseConfig& config)
      : checkpoint_(checkpoint),
        matrices_(matrices),
        kernels_(*options.kernels),
        activations_(options.activations),
        config_(config),
        names_(checkpoint.gguf ? kGguf : kHuggingFace) {}

  absl::StatusOr<DenseWeights> Bind() {
    DenseWeights w;
    const int64_t d = config_.hidden_size;
    INHOUSE_ASSIGN_OR_RETURN(w.embedding, checkpoint_.tensors.Require(Weight(names_.embedding),
                                                                      {config_.vocab_size, d}));
    if (kernels_.matmul(w.embedding->view.dtype) == nullptr) return WrongType(*w.embedding);
    INHOUSE_RETURN_IF_ERROR(ReadFrequencyDivisors());
    for (int64_t layer = 0; layer < config_.layers; ++layer) {
      INHOUSE_ASSIGN_OR_RETURN(DenseLayer bound, BindLayer(layer));
      w.layers.push_back(std::move(bound));
    }
    INHOUSE_ASSIGN_OR_RETURN(w.final_norm, Vector(Weight(names_.final_norm), d));
    config_.tied_embeddings = config_.tied_embeddings || !matrices_.Has(names_.head);
    const char* head = config_.tied_embeddings ? names_.embedding : names_.head;
    INHOUSE_ASSIGN_OR_RETURN(LinearPart part, Part(head, config_.vocab_size, d, false));
    INHOUSE_ASSIGN_OR_RETURN(w.head, Plan({std::move(part)}, ActivationBits::k16));
    w.exact_floats = exact_floats_;
    return w;
  }

 private:
  static std::string Weight(const std::string& module) { return module + ".weight"; }
  std::string InLayer(int64_t layer, const char* module) const {
    return fmt::format(fmt::runtime(names_.layer), layer) + module;
  }

  absl::Status WrongType(const StoredTensor& tensor) const {
    return base::InvalidInput({.file = tensor.file->path(),
                               .field = tensor.name,
                               .value = std::string(Name(tensor.view.dtype)),
                               .expected = "a floating or GGUF block type"});
  }

  absl::StatusOr<std::vector<float>> Vector(const std::string& name, int64_t n) const {
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* tensor, checkpoint_.tensors.Require(name, {n}));
    if (kernels_.matmul(tensor->view.dtype) == nullptr) return WrongType(*tensor);
    std::vector<float> values(static_cast<size_t>(n));
    DequantizeRow(tensor->view.dtype, tensor->view.row(0), n, values.data());
    return values;
  }

  absl::StatusOr<LinearPart> Part(const std::string& module, int64_t out, int64_t in, bool bias) {
    LinearPart part;
    INHOUSE_ASSIGN_OR_RETURN(part.weight, matrices_.Find(module, out, in));
    // Assembled rows may be in F32 for want of a smaller type; that promises nothing.
    const DType dtype = part.weight.dtype();
    exact_floats_ |= !part.weight.assembled() && (dtype == DType::kF32 || dtype == DType::kF16);
    if (bias) {
      INHOUSE_ASSIGN_OR_RETURN(part.bias, Vector(module + ".bias", out));
    }
    return part;
  }

  // q or k: undoes the row order of GGUF llama files, in the bias too.
  absl::StatusOr<LinearPart> RotatedPart(const std::string& module, int64_t heads) {
    INHOUSE_ASSIGN_OR_RETURN(LinearPart part, Part(module, heads * config_.head_dim,
                                                   config_.hidden_size, config_.qkv_bias));
    if (!config_.permuted_qk) return part;
    part.row_order = UnpermutedRows(heads, config_.head_dim);
    const std::vector<float> stored = part.bias;
    for (size_t i = 0; i < stored.size(); ++i)
      part.bias[i] = stored[static_cast<size_t>(part.row_order[i])];
    return part;
  }

  absl::StatusOr<Linear> Plan(std::vector<LinearPart> parts, ActivationBits bits) const {
    absl::StatusOr<Linear> linear = Linear::Plan(std::move(parts), kernels_, bits);
    if (!linear.ok()) {
      return base::InvalidInput(
          {.file = checkpoint_.path, .field = base::Message(linear.status())});
    }
    return linear;
  }

  absl::StatusOr<DenseLayer> BindLayer(int64_t layer) {
    const int64_t d = config_.hidden_size;
    const int64_t inner = config_.intermediate_size;
    DenseLayer out;
    INHOUSE_ASSIGN_OR_RETURN(out.attention_norm,
                             Vector(Weight(InLayer(layer, names_.attention_norm)), d));
    INHOUSE_ASSIGN_OR_RETURN(out.mlp_norm, Vector(Weight(InLayer(layer, names_.mlp_norm)), d));
    if (config_.qk_norm) {
      INHOUSE_ASSIGN_OR_RETURN(out.q_norm,
                               Vector(Weight(InLayer(layer, names_.q_norm)), config_.head_dim));
      INHOUSE_ASSIGN_OR_RETURN(out.k_norm,
                               Vector(Weight(InLayer(layer, names_.k_norm)), config_.head_dim));
    }
    INHOUSE_ASSIGN_OR_RETURN(LinearPart q, RotatedPart(InLayer(layer, names_.q), config_.heads));
    INHOUSE_ASSIGN_OR_RETURN(LinearPart k, RotatedPart(InLayer(layer, names_.k), config_.kv_heads));
    INHOUSE_ASSIGN_OR_RETURN(
        LinearPart v,
        Part(InLayer(layer, names_.v), config_.kv_heads * config_.head_dim, d, config_.qkv_bias));
    INHOUSE_ASSIGN_OR_RETURN(out.qkv,
                             Plan({std::move(q), std::move(k), std::move(v)}, activations_));
    INHOUSE_ASSIGN_OR_RETURN(LinearPart o, Part(InLayer(layer, names_.o), d,
                                                config_.heads * config_.head_dim, config_.o_bias));
    INHOUSE_ASSIGN_OR_RETURN(out.o, Plan({std::move(o)}, activations_));
    INHOUSE_ASSIGN_OR_RETURN(LinearPart gate,
                             Part(InLayer(layer, names_.gate), inner, d, config_.mlp_bias));
    INHOUSE_ASSIGN_OR_RETURN(LinearPart up,
                             Part(InLayer(layer, names_.up), inner, d, config_.mlp_bias));
    INHOUSE_ASSIGN_OR_RETURN(out.gate_up, Plan({std::move(gate), std::move(up)}, activations_));
    INHOUSE_ASSIGN_OR_RETURN(LinearPart down,
                             Part(InLayer(layer, names_.down), d, inner, config_.mlp_bias));
    INHOUSE_ASSIGN_OR_RETURN(out.down, Plan({std::move(down)}, activations_));
    return out;
  }

  // GGUF carries llama3 scaling as a tensor by which the frequencies are divided.
  absl::Status ReadFrequencyDivisors() {
    if (!checkpoint_.gguf || checkpoint_.tensors.Find("rope_freqs.weight") == nullptr)
      return absl::OkStatus();
    INHOUSE_ASSIGN_OR_RETURN(config_.rope.frequency_divisors,
                             Vector("rope_freqs.weight", config_.rope.dim / 2));
    return absl::OkStatus();
  }

  const Checkpoint& checkpoint_;
  const MatrixFinder& matrices_;
  const KernelTable& kernels_;
  const ActivationBits activations_;
  DenseConfig& config_;
  const Names& names_;
  bool exact_floats_ = false;
};

}  // namespace

std::vector<Linear*> DenseWeights::Linears() {
  std::vector<Linear*> linears;
  for (DenseLayer& layer : layers) {
    for (Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      linears.push_back(linear);
  }
  linears.push_back(&head);
  return linears;
}

std::vector<const Linear*> DenseWeights::Linears() const {
  std::vector<const Linear*> linears;
  for (const DenseLayer& layer : layers) {
    for (const Linear* linear : {&layer.qkv, &layer.o, &layer.gate_up, &layer.down})
      linears.push_back(linear);
  }
  linears.push_back(&head);
  return linears;
}

absl::StatusOr<DenseWeights> BindDenseWeights(const Checkpoint& checkpoint,
                                              const BindOptions& options, DenseConfig& config) {
  INHOUSE_ASSIGN_OR_RETURN(const MatrixFinder matrices, MatrixFinder::Create(checkpoint));
  return Binder(checkpoint, matrices, options, config).Bind();
}

}  // namespace inhouse::engine
