#include "engine/models/dense/dense_model.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/models/dense/adapter_targets.h"
#include "engine/models/dense/dense_config.h"
#include "engine/models/dense/dense_weights.h"
#include "engine/ops/attention.h"
#include "engine/ops/rope.h"
#include "engine/ops/rows.h"

namespace inhouse::engine {
namespace {

// Activations of one step, one row per token, carved out of one arena.
struct Buffers {
  Arena arena;
  float* hidden = nullptr;     // [rows][hidden]: the residual stream
  float* normed = nullptr;     // [rows][hidden]
  float* qkv = nullptr;        // [rows][qkv width]
  float* attended = nullptr;   // [rows][heads * head_dim]
  float* projected = nullptr;  // [rows][hidden]
  float* gate_up = nullptr;    // [rows][2 * intermediate]
  float* logits = nullptr;     // [logit rows][vocab]
};

// Weights in IEEE floats, and `ref`, promise sums as exact as float32's (docs/decisions/0010).
bool IsExact(const KernelTable& kernels, const DenseWeights& weights) {
  return kernels.level == IsaLevel::kRef || weights.exact_floats;
}

class DenseModel final : public Model {
 public:
  DenseModel(const Checkpoint& checkpoint, DenseConfig config, DenseWeights weights,
             const KernelTable& kernels, std::optional<DType> kv)
      : checkpoint_(checkpoint),
        config_(std::move(config)),
        weights_(std::move(weights)),
        kernels_(kernels),
        layout_{static_cast<int>(config_.layers), static_cast<int>(config_.kv_heads),
                static_cast<int>(config_.head_dim),
                kv.value_or(IsExact(kernels, weights_) ? DType::kF32 : DType::kF16)},
        weight_memory_(weights_.Linears()) {
    DescribeFacts();
  }

  const ModelFacts& facts() const override { return facts_; }
  WeightMemory& weights() override { return weight_memory_; }

  int64_t ScratchBytes(const StepLimits& limits, int threads) const override {
    return ActivationFloats(limits) * static_cast<int64_t>(sizeof(float)) +
           static_cast<int64_t>(PackedBytes(limits)) +
           threads * static_cast<int64_t>(MemberBytes(limits));
  }

  void Allocate(const base::ThreadTeam& team, const StepLimits& limits) override;
  void Forward(base::ThreadTeam& team, Communicator& comm, const StepPlan& plan) override;
  std::vector<const Linear*> linears() const override { return weights_.Linears(); }
  std::vector<AdapterTarget> adapter_targets() const override {
    return DenseAdapterTargets(checkpoint_, config_, weights_);
  }
  bool exact() const override { return IsExact(kernels_, weights_); }
  void set_observer(ProductObserver* observer) override { observer_ = observer; }
  const float* logits(int64_t index) const override {
    return buffers_.logits + index * config_.vocab_size;
  }
  const float* hidden(int64_t index) const override {
    return buffers_.normed + (first_hidden_ + index) * config_.hidden_size;
  }

 private:
  int64_t QkvWidth() const { return (config_.heads + 2 * config_.kv_heads) * config_.head_dim; }
  int64_t QWidth() const { return config_.heads * config_.head_dim; }
  int64_t KvWidth() const { return config_.kv_heads * config_.head_dim; }

  void DescribeFacts();
  void AddProduct(OpClass op, const Linear& linear);
  int64_t ActivationFloats(const StepLimits& limits) const;
  LowRankLimits AdapterLimitsOf(const StepLimits& limits) const;
  size_t PackedBytes(const StepLimits& limits) const;
  size_t MemberBytes(const StepLimits& limits) const;
  void AllocateBuffers(const StepLimits& limits);

  // What a layer and the head need to know of the step.
  struct Step {
    const StepPlan& plan;
    const AttentionPlan& attention;
    const StepAdapters& adapters;
  };
  // The two halves of a layer: each normalises the residual stream and adds to it.
  void RunAttention(OpContext& context, const DenseLayer& layer, int index, const Step& step);
  void RunMlp(OpContext& context, const DenseLayer& layer, int index, const Step& step);
  void RunFinal(OpContext& context, const Step& step);

  const Checkpoint& checkpoint_;
  DenseConfig config_;
  DenseWeights weights_;
  const KernelTable& kernels_;
  KvLayout layout_;
  ModelFacts facts_;
  StepLimits limits_;
  WeightMemory weight_memory_;
  Buffers buffers_;
  int64_t first_hidden_ = 0;  // row of `normed` behind those that the logits were made of
  std::unique_ptr<RopeTable> rope_;
  std::unique_ptr<OpScratch> scratch_;
  AttentionScratch attention_scratch_;
  ProductObserver* observer_ = nullptr;
};

// Parameters of an assembled matrix less the elements of its tensors, which are words of many
// codes, scales and zero points.
int64_t HiddenParameters(const StoredMatrix& matrix) {
  if (!matrix.assembled()) return 0;
  int64_t hidden = matrix.rows() * matrix.columns();
  for (const StoredTensor* tensor : matrix.tensors()) hidden -= ElementCount(tensor->view.shape);
  return hidden;
}

void DenseModel::DescribeFacts() {
  facts_.architecture = config_.architecture;
  facts_.layers = config_.layers;
  facts_.hidden_size = config_.hidden_size;
  facts_.vocab_size = config_.vocab_size;
  facts_.context_tokens = config_.context_tokens;
  for (const auto& [name, tensor] : checkpoint_.tensors.tensors()) {
    facts_.parameters_total += ElementCount(tensor.view.shape);
  }
  for (const Linear* linear : std::as_const(weights_).Linears()) {
    for (const LinearPart& part : linear->parts()) {
      const StoredMatrix& matrix = part.weight;
      facts_.parameters_total += HiddenParameters(matrix);
      MatrixTypeFacts& type = facts_.matrix_types[matrix.dtype()];
      ++type.matrices;
      type.parameters += matrix.rows() * matrix.columns();
      type.stored_bytes += matrix.stored_bytes();
    }
  }
  facts_.parameters_active = facts_.parameters_total;
  facts_.weight_bytes = weight_memory_.bytes();
  facts_.page_bytes = layout_.page_bytes();
  facts_.kv = layout_.dtype;
  for (const DenseLayer& layer : weights_.layers) {
    AddProduct(OpClass::kQkv, layer.qkv);
    AddProduct(OpClass::kO, layer.o);
    AddProduct(OpClass::kGateUp, layer.gate_up);
    AddProduct(OpClass::kDown, layer.down);
  }
  AddProduct(OpClass::kHead, weights_.head);
}

// Layers may differ in type (GGUF mixes them); the first layer's unit stands for all.
void DenseModel::AddProduct(OpClass op, const Linear& linear) {
  auto product = std::find_if(facts_.products.begin(), facts_.products.end(),
                              [op](const ProductFacts& p) { return p.op == op; });
  if (product == facts_.products.end()) {
    product = facts_.products.insert(product, {.op = op, .unit = linear.dot_unit()});
  }
  product->weight_bytes += linear.packed_bytes();
  product->ops += 2 * linear.in_features() * linear.out_features();
}

int64_t DenseModel::ActivationFloats(const StepLimits& limits) const {
  const int64_t row =
      3 * config_.hidden_size + QkvWidth() + QWidth() + 2 * config_.intermediate_size;
  return limits.rows * row + limits.logit_rows * config_.vocab_size;
}

// Up to three modules share a product (q, k, v); any sequence may have an adapter of its own.
LowRankLimits DenseModel::AdapterLimitsOf(const StepLimits& limits) const {
  return {
      .rows = limits.rows, .groups = limits.sequences, .rank = 3 * limits.adapter_rank, .parts = 3};
}

size_t DenseModel::PackedBytes(const StepLimits& limits) const {
  size_t bytes = 0;
  for (const Linear* linear : weights_.Linears()) {
    bytes =
        std::max({bytes, linear->packed_activation_bytes(limits.rows),
                  LowRankPackedBytes(kernels_, AdapterLimitsOf(limits), linear->in_features())});
  }
  return bytes;
}

size_t DenseModel::MemberBytes(const StepLimits& limits) const {
  size_t bytes = AttentionMemberBytes(static_cast<int>(config_.head_dim),
                                      static_cast<int>(config_.heads / config_.kv_heads));
  const TensorView& embedding = weights_.embedding->view;
  bytes = std::max(bytes, static_cast<size_t>(RowBytes(embedding.dtype, embedding.columns())));
  for (const Linear* linear : weights_.Linears()) {
    bytes =
        std::max({bytes, linear->member_scratch_bytes(),
                  LowRankMemberBytes(kernels_, AdapterLimitsOf(limits), linear->in_features())});
  }
  return bytes;
}

void DenseModel::AllocateBuffers(const StepLimits& limits) {
  limits_ = limits;
  buffers_.arena = Arena(static_cast<size_t>(ActivationFloats(limits)) * sizeof(float));
  auto* next = reinterpret_cast<float*>(buffers_.arena.data());
  const auto take = [&next](int64_t floats) { return std::exchange(next, next + floats); };
  buffers_.hidden = take(limits.rows * config_.hidden_size);
  buffers_.normed = take(limits.rows * config_.hidden_size);
  buffers_.projected = take(limits.rows * config_.hidden_size);
  buffers_.qkv = take(limits.rows * QkvWidth());
  buffers_.attended = take(limits.rows * QWidth());
  buffers_.gate_up = take(limits.rows * 2 * config_.intermediate_size);
  buffers_.logits = take(limits.logit_rows * config_.vocab_size);
}

void DenseModel::Allocate(const base::ThreadTeam& team, const StepLimits& limits) {
  AllocateBuffers(limits);
  rope_ = std::make_unique<RopeTable>(config_.rope, limits.rows);
  scratch_ = std::make_unique<OpScratch>(team.count(), PackedBytes(limits), MemberBytes(limits));
  // Only tiles of few tokens are split, one per sequence.
  const int64_t pages = (limits.context_tokens + kPageTokens - 1) / kPageTokens;
  const int64_t split_rows = std::max<int64_t>(
      limits.sequences * SplitRowsMax(layout_, static_cast<int>(config_.heads)), 1);
  attention_scratch_ = AttentionScratch(split_rows, pages, layout_.head_dim);
}

void DenseModel::Forward(base::ThreadTeam& team, Communicator& comm, const StepPlan& plan) {
  INHOUSE_CHECK(plan.rows() <= limits_.rows &&
                    static_cast<int64_t>(plan.logit_rows.size()) <= limits_.logit_rows &&
                    static_cast<int64_t>(plan.sequences.size()) <= limits_.sequences,
                "the step is within the limits that the buffers were sized for");
  std::optional<StepClock> clock;
  if (profile_ != nullptr) clock.emplace(profile_);
  std::vector<int64_t> positions;
  for (const SequenceSlice& sequence : plan.sequences) {
    for (int64_t i = 0; i < sequence.tokens; ++i) positions.push_back(sequence.position + i);
  }
  const AttentionPlan attention(plan.sequences, layout_, static_cast<int>(config_.heads));
  const StepAdapters adapters(plan, 4 * weights_.layers.size() + 1);
  const Step step{plan, attention, adapters};
  first_hidden_ = static_cast<int64_t>(plan.logit_rows.size());
  team.Run([&](const base::TeamMember& member) {
    OpContext context{
        member,   kernels_, *scratch_, comm, clock && member.index() == 0 ? &*clock : nullptr,
        observer_};
    Embed(context, *weights_.embedding, plan.tokens, buffers_.hidden);
    context.Mark(OpClass::kEmbed);
    rope_->Fill(member, positions);
    context.Mark(OpClass::kRope);
    for (size_t i = 0; i < weights_.layers.size(); ++i) {
      RunAttention(context, weights_.layers[i], static_cast<int>(i), step);
      RunMlp(context, weights_.layers[i], static_cast<int>(i), step);
    }
    RunFinal(context, step);
  });
  if (!clock) return;
  clock->Mark(OpClass::kOther);
  ++profile_->steps;
  profile_->rows += plan.rows();
}

void DenseModel::RunAttention(OpContext& context, const DenseLayer& layer, int index,
                              const Step& step) {
  const StepPlan& plan = step.plan;
  const size_t product = 4 * static_cast<size_t>(index);  // of Linears()
  const int64_t rows = plan.rows();
  const int64_t d = config_.hidden_size;
  const auto heads = static_cast<int>(config_.heads);
  const auto kv_heads = static_cast<int>(config_.kv_heads);
  const auto head_dim = static_cast<int>(config_.head_dim);
  Buffers& b = buffers_;
  float* q = b.qkv;
  float* k = q + QWidth();
  float* v = k + KvWidth();

  RmsNorm(context, b.hidden, layer.attention_norm, config_.rms_norm_eps, rows, b.normed);
  context.Mark(OpClass::kNorm);
  MatMul(context, layer.qkv, b.normed, d, rows, b.qkv, QkvWidth());
  AddLowRank(context, step.adapters.of(product), b.normed, d, b.qkv, QkvWidth());
  context.Mark(OpClass::kQkv);
  if (config_.qk_norm) {
    RmsNormHeads(context, q, QkvWidth(), layer.q_norm, config_.rms_norm_eps, rows, heads);
    RmsNormHeads(context, k, QkvWidth(), layer.k_norm, config_.rms_norm_eps, rows, kv_heads);
    context.Mark(OpClass::kNorm);
  }
  RotateHeads(context, *rope_, q, QkvWidth(), rows, heads, head_dim);
  RotateHeads(context, *rope_, k, QkvWidth(), rows, kv_heads, head_dim);
  context.Mark(OpClass::kRope);
  const AttentionArguments arguments{.layout = &layout_,
                                     .layer = index,
                                     .heads = heads,
                                     .scale = 1.0F / std::sqrt(static_cast<float>(head_dim)),
                                     .sequences = plan.sequences,
                                     .q = q,
                                     .ldq = QkvWidth(),
                                     .out = b.attended,
                                     .ldout = QWidth()};
  StoreKv(context, arguments, k, v, QkvWidth());
  Attention(context, arguments, step.attention, attention_scratch_);
  context.Mark(OpClass::kAttention);
  MatMul(context, layer.o, b.attended, QWidth(), rows, b.projected, d);
  AddLowRank(context, step.adapters.of(product + 1), b.attended, QWidth(), b.projected, d);
  context.Mark(OpClass::kO);
  AddRows(context, b.hidden, b.projected, d, rows);
  context.Mark(OpClass::kAdd);
}

void DenseModel::RunMlp(OpContext& context, const DenseLayer& layer, int index, const Step& step) {
  const size_t product = 4 * static_cast<size_t>(index) + 2;  // of Linears()
  const int64_t rows = step.plan.rows();
  const int64_t d = config_.hidden_size;
  const int64_t inner = config_.intermediate_size;
  Buffers& b = buffers_;
  RmsNorm(context, b.hidden, layer.mlp_norm, config_.rms_norm_eps, rows, b.normed);
  context.Mark(OpClass::kNorm);
  int64_t ld = 2 * inner;
  if (const auto adapters = step.adapters.of(product); adapters.empty()) {
    ld = MatMulSwiGlu(context, layer.gate_up, b.normed, d, rows, b.gate_up);
    context.Mark(OpClass::kGateUp);
  } else {
    MatMul(context, layer.gate_up, b.normed, d, rows, b.gate_up, ld);
    AddLowRank(context, adapters, b.normed, d, b.gate_up, ld);
    context.Mark(OpClass::kGateUp);
    SwiGlu(context, b.gate_up, inner, rows);
    context.Mark(OpClass::kActivation);
  }
  MatMul(context, layer.down, b.gate_up, ld, rows, b.projected, d);
  AddLowRank(context, step.adapters.of(product + 1), b.gate_up, ld, b.projected, d);
  context.Mark(OpClass::kDown);
  AddRows(context, b.hidden, b.projected, d, rows);
  context.Mark(OpClass::kAdd);
}

void DenseModel::RunFinal(OpContext& context, const Step& step) {
  const StepPlan& plan = step.plan;
  const int64_t d = config_.hidden_size;
  const auto wanted = static_cast<int64_t>(plan.logit_rows.size());
  const auto hidden = static_cast<int64_t>(plan.hidden_rows.size());
  if (wanted + hidden == 0) return;
  context.member.Barrier();  // the residual stream is complete
  const auto [begin, end] = context.member.Share(wanted + hidden);
  for (int64_t i = begin; i < end; ++i) {
    const int64_t source = i < wanted ? plan.logit_rows[static_cast<size_t>(i)]
                                      : plan.hidden_rows[static_cast<size_t>(i - wanted)];
    const float* row = buffers_.hidden + source * d;
    kernels_.elementwise->rms_norm(row, weights_.final_norm.data(), d, config_.rms_norm_eps,
                                   buffers_.normed + i * d);
  }
  context.member.Barrier();
  context.Mark(OpClass::kNorm);
  if (wanted == 0) return;
  MatMul(context, weights_.head, buffers_.normed, d, wanted, buffers_.logits, config_.vocab_size);
  AddLowRank(context, step.adapters.of(4 * weights_.layers.size()), buffers_.normed, d,
             buffers_.logits, config_.vocab_size);
  context.Mark(OpClass::kHead);
}

}  // namespace

absl::StatusOr<std::unique_ptr<Model>> BindDense(const Checkpoint& checkpoint,
                                                 const BindOptions& options,
                                                 const Architecture& architecture) {
  INHOUSE_ASSIGN_OR_RETURN(DenseConfig config, ReadDenseConfig(checkpoint, architecture.name));
  INHOUSE_ASSIGN_OR_RETURN(DenseWeights weights, BindDenseWeights(checkpoint, options, config));
  return std::make_unique<DenseModel>(checkpoint, std::move(config), std::move(weights),
                                      *options.kernels, options.kv);
}

}  // namespace inhouse::engine
