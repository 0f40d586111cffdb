// Rotary embedding, writing the KV cache and causal attention over its pages, for grouped-query
// attention (GQA).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/op_context.h"

namespace inhouse::engine {

// Where the keys and values of one layer and head are inside a page: [layer][kv head]{K, V}.
struct KvLayout {
  int layers;
  int kv_heads;
  int head_dim;
  DType dtype;  // kF32, kF16, kBF16 or kF8E4M3

  int64_t block_bytes() const { return KvBlockBytes(dtype, head_dim); }
  int64_t page_bytes() const { return block_bytes() * 2 * kv_heads * layers; }
  int64_t k_offset(int layer, int kv_head) const {
    return (int64_t{layer} * kv_heads + kv_head) * 2 * block_bytes();
  }
  int64_t v_offset(int layer, int kv_head) const {
    return k_offset(layer, kv_head) + block_bytes();
  }
};

// The tokens of one sequence in a step. Token i stands at position `position` + i; its activations
// are row `row` + i.
struct SequenceSlice {
  std::span<std::byte* const> pages;  // covers positions 0 .. position + tokens - 1
  int64_t position;
  int64_t tokens;
  int64_t row;
};

// How attention is cut: a split is this many pages. Splits are merged in order, so the result does
// not depend on how many threads took part, and one long sequence occupies the whole team.
inline constexpr int64_t kSplitPages = 16;

// The queries of one KV head and a few tokens of one sequence, over the whole past (split = -1) or
// one split of it.
struct AttentionPiece {
  const SequenceSlice* sequence;
  int kv_head;
  int64_t token_begin;
  int64_t token_end;
  int64_t split;
  int64_t slot;  // of a split piece: its first row in AttentionScratch
};

// The work of one attention in a step, the same for every layer; made once per step. The sequences
// must outlive it.
class AttentionPlan {
 public:
  AttentionPlan(std::span<const SequenceSlice> sequences, const KvLayout& layout, int heads);
  const std::vector<AttentionPiece>& pieces() const { return pieces_; }
  int64_t slots() const { return slots_; }

 private:
  std::vector<AttentionPiece> pieces_;
  int64_t slots_ = 0;
};

// Scratch for partial results of split sequences; sized once for the largest step.
class AttentionScratch {
 public:
  AttentionScratch() = default;
  // `rows_max`: query rows (tokens x heads) of a step that may be split; `pages_max`: of the
  // longest sequence.
  AttentionScratch(int64_t rows_max, int64_t pages_max, int head_dim);

  float* out(int64_t slot) const {
    return reinterpret_cast<float*>(arena_.data()) + slot * stride_;
  }
  AttentionState* state(int64_t slot) { return &states_[static_cast<size_t>(slot)]; }
  int64_t slots() const { return static_cast<int64_t>(states_.size()); }

 private:
  Arena arena_;
  int64_t stride_ = 0;
  std::vector<AttentionState> states_;
};

struct AttentionArguments {
  const KvLayout* layout;
  int layer;
  int heads;    // query heads; a multiple of layout->kv_heads
  float scale;  // of the scores, usually head_dim^-0.5
  std::span<const SequenceSlice> sequences;
  const float* q;  // [rows][ldq], heads * head_dim each, rotated
  int64_t ldq;
  float* out;  // [rows][ldout], heads * head_dim each
  int64_t ldout;
};

// The most query rows that one sequence can have in a split attention.
int64_t SplitRowsMax(const KvLayout& layout, int heads);

// Bytes of member scratch that Attention needs.
size_t AttentionMemberBytes(int head_dim, int group);

// Stores k and v of the step's tokens ([rows][ld], kv_heads * head_dim each, k rotated) into the
// pages. Collective, without a barrier at either end: the member stores its Share of the step's
// rows, which are those that it rotated (RotateHeads), and Attention waits before it reads.
void StoreKv(OpContext& context, const AttentionArguments& arguments, const float* k,
             const float* v, int64_t ld);

// Attention of every query over all positions up to its own. Collective; what the members wrote
// before, each for itself, is visible to it.
void Attention(OpContext& context, const AttentionArguments& arguments, const AttentionPlan& plan,
               AttentionScratch& scratch);

}  // namespace inhouse::engine
