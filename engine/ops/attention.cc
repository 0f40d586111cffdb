#include "engine/ops/attention.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>

#include "base/check.h"

namespace inhouse::engine {
namespace {

// Query rows (tokens x heads of a group) that go through the pages together: enough to use each
// loaded key often, few enough that their accumulators stay in L1/L2 (48 rows x 128 floats = 24
// KiB).
constexpr int64_t kTileRows = 48;

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

const AttentionKernel& KernelFor(const KernelTable& kernels, DType kv) {
  if (kv == DType::kF16) return *kernels.attention_f16;
  if (kv == DType::kBF16) return *kernels.attention_bf16;
  if (kv == DType::kF8E4M3) return *kernels.attention_e4m3;
  INHOUSE_CHECK(kv == DType::kF32, "pages are F32, F16, BF16 or E4M3");
  return *kernels.attention_f32;
}

int64_t TileTokens(int64_t group) { return std::max<int64_t>(1, kTileRows / group); }

// Adds `part` (a later split) to `total`; both unnormalised.
void Merge(const ElementwiseKernels& kernels, const AttentionState& part, const float* part_out,
           int head_dim, AttentionState& total, float* total_out) {
  if (part.sum == 0) return;
  if (total.sum == 0) {
    total = part;
    std::memcpy(total_out, part_out, sizeof(float) * static_cast<size_t>(head_dim));
    return;
  }
  const float max = std::max(total.max, part.max);
  const float a = std::exp2(total.max - max);
  const float b = std::exp2(part.max - max);
  total = {max, total.sum * a + part.sum * b};
  kernels.scale(total_out, a, head_dim);
  kernels.axpy(total_out, b, part_out, head_dim);
}

// One member's tile of queries: contiguous copies and accumulators, carved out of its scratch.
struct Tile {
  float* q;
  float* out;
  float* total;
  float* scores;
  AttentionState* state;
  AttentionState* total_state;
  int32_t* visible;

  Tile(std::byte* memory, int head_dim, int64_t rows) {
    const size_t row_floats =
        static_cast<size_t>(rows) * AlignUp(static_cast<size_t>(head_dim), 16);
    auto take = [&memory](size_t bytes) {
      std::byte* begin = memory;
      memory += AlignUp(bytes, 64);
      return begin;
    };
    q = reinterpret_cast<float*>(take(row_floats * sizeof(float)));
    out = reinterpret_cast<float*>(take(row_floats * sizeof(float)));
    total = reinterpret_cast<float*>(take(row_floats * sizeof(float)));
    scores =
        reinterpret_cast<float*>(take(static_cast<size_t>(rows) * kPageTokens * sizeof(float)));
    state =
        reinterpret_cast<AttentionState*>(take(static_cast<size_t>(rows) * sizeof(AttentionState)));
    total_state =
        reinterpret_cast<AttentionState*>(take(static_cast<size_t>(rows) * sizeof(AttentionState)));
    visible = reinterpret_cast<int32_t*>(take(static_cast<size_t>(rows) * sizeof(int32_t)));
  }
};

int64_t TileRows(int64_t group) { return TileTokens(group) * group; }

int64_t Pages(const AttentionPiece& piece) {
  return CeilDiv(piece.sequence->position + piece.token_end, kPageTokens);
}

class Worker {
 public:
  Worker(OpContext& context, const AttentionArguments& arguments)
      : arguments_(arguments),
        kernel_(KernelFor(context.kernels, arguments.layout->dtype)),
        rows_(*context.kernels.elementwise),
        group_(arguments.heads / arguments.layout->kv_heads),
        head_dim_(arguments.layout->head_dim),
        tile_(context.scratch.member(context.member.index()), head_dim_, TileRows(group_)) {}

  // Runs all splits of a task and writes the normalised result.
  void RunWhole(const AttentionPiece& task) {
    LoadQueries(task);
    const int64_t rows = Rows(task);
    ClearStates(tile_.total_state, tile_.total, rows);
    for (int64_t split = 0; split * kSplitPages < Pages(task); ++split) {
      RunSplit(task, split, tile_.state, tile_.out);
      for (int64_t r = 0; r < rows; ++r) {
        Merge(rows_, tile_.state[r], tile_.out + r * head_dim_, head_dim_, tile_.total_state[r],
              tile_.total + r * head_dim_);
      }
    }
    for (int64_t r = 0; r < rows; ++r)
      WriteRow(task, r, tile_.total_state[r], tile_.total + r * head_dim_);
  }

  // Runs one split of a task into the shared scratch.
  void RunPartial(const AttentionPiece& task, AttentionState* state, float* out) {
    LoadQueries(task);
    RunSplit(task, task.split, tile_.state, tile_.out);
    const auto rows = static_cast<size_t>(Rows(task));
    std::memcpy(state, tile_.state, rows * sizeof(AttentionState));
    std::memcpy(out, tile_.out, rows * static_cast<size_t>(head_dim_) * sizeof(float));
  }

  void WriteRow(const AttentionPiece& task, int64_t r, const AttentionState& state,
                const float* row) {
    float* out = arguments_.out + OutRow(task, r);
    std::memcpy(out, row, sizeof(float) * static_cast<size_t>(head_dim_));
    rows_.scale(out, 1.0F / state.sum, head_dim_);
  }

  int64_t Rows(const AttentionPiece& task) const {
    return (task.token_end - task.token_begin) * group_;
  }

 private:
  int64_t Token(const AttentionPiece& task, int64_t r) const {
    return task.token_begin + r / group_;
  }
  int64_t HeadOffset(const AttentionPiece& task, int64_t r) const {
    return (int64_t{task.kv_head} * group_ + r % group_) * head_dim_;
  }
  int64_t OutRow(const AttentionPiece& task, int64_t r) const {
    return (task.sequence->row + Token(task, r)) * arguments_.ldout + HeadOffset(task, r);
  }

  // A token's heads of the group stand beside each other.
  void LoadQueries(const AttentionPiece& task) {
    const int64_t width = group_ * head_dim_;
    const float* q = arguments_.q + (task.sequence->row + task.token_begin) * arguments_.ldq +
                     HeadOffset(task, 0);
    float* out = tile_.q;
    for (int64_t token = task.token_begin; token < task.token_end; ++token) {
      std::memcpy(out, q, sizeof(float) * static_cast<size_t>(width));
      out += width;
      q += arguments_.ldq;
    }
    constexpr float kLog2E = 1.44269504088896341F;
    rows_.scale(tile_.q, arguments_.scale * kLog2E, Rows(task) * head_dim_);
  }

  // How much of a page each row sees.
  void SetVisible(const AttentionPiece& task, int64_t page) {
    int32_t* visible = tile_.visible;
    for (int64_t token = task.token_begin; token < task.token_end; ++token) {
      const int64_t seen = task.sequence->position + token + 1 - page * kPageTokens;
      visible = std::fill_n(visible, group_,
                            static_cast<int32_t>(std::clamp<int64_t>(seen, 0, kPageTokens)));
    }
  }

  void ClearStates(AttentionState* state, float* out, int64_t rows) const {
    std::fill(state, state + rows, AttentionState{-std::numeric_limits<float>::infinity(), 0.0F});
    std::fill(out, out + rows * head_dim_, 0.0F);
  }

  void RunSplit(const AttentionPiece& task, int64_t split, AttentionState* state, float* out) {
    const int64_t rows = Rows(task);
    ClearStates(state, out, rows);
    const int64_t page_end = std::min((split + 1) * kSplitPages, Pages(task));
    for (int64_t page = split * kSplitPages; page < page_end; ++page) {
      SetVisible(task, page);
      const std::byte* memory = task.sequence->pages[static_cast<size_t>(page)];
      const std::byte* next =
          task.sequence->pages[static_cast<size_t>(std::min(page + 1, Pages(task) - 1))];
      const KvLayout& layout = *arguments_.layout;
      kernel_.add_page({.q = tile_.q,
                        .ldq = head_dim_,
                        .visible = tile_.visible,
                        .n_queries = static_cast<int>(rows),
                        .head_dim = head_dim_,
                        .k = memory + layout.k_offset(arguments_.layer, task.kv_head),
                        .v = memory + layout.v_offset(arguments_.layer, task.kv_head),
                        .state = state,
                        .out = out,
                        .ldout = head_dim_,
                        .scratch = tile_.scores,
                        .next = next + layout.k_offset(arguments_.layer, task.kv_head)});
    }
  }

  const AttentionArguments& arguments_;
  const AttentionKernel& kernel_;
  const ElementwiseKernels& rows_;
  const int64_t group_;
  const int head_dim_;
  Tile tile_;
};

// A sequence with few new tokens and a long past is cut along its past; others are cut along their
// tokens.
bool IsSplit(const SequenceSlice& sequence, int64_t group) {
  return sequence.tokens <= TileTokens(group) &&
         CeilDiv(sequence.position + sequence.tokens, kPageTokens) > kSplitPages;
}

// Merges the splits of each split task; the tasks are shared out among the members.
void MergeSplits(OpContext& context, const AttentionArguments& arguments, const AttentionPlan& plan,
                 AttentionScratch& scratch, Worker& worker) {
  int64_t turn = 0;
  for (const AttentionPiece& task : plan.pieces()) {
    if (task.split != 0 || turn++ % context.member.count() != context.member.index()) continue;
    const int64_t rows = worker.Rows(task);
    const int64_t splits = CeilDiv(Pages(task), kSplitPages);
    for (int64_t r = 0; r < rows; ++r) {
      const int64_t total = task.slot + r;
      for (int64_t split = 1; split < splits; ++split) {
        const int64_t part = total + split * rows;
        Merge(*context.kernels.elementwise, *scratch.state(part), scratch.out(part),
              arguments.layout->head_dim, *scratch.state(total), scratch.out(total));
      }
      worker.WriteRow(task, r, *scratch.state(total), scratch.out(total));
    }
  }
}

}  // namespace

AttentionPlan::AttentionPlan(std::span<const SequenceSlice> sequences, const KvLayout& layout,
                             int heads) {
  const int64_t group = heads / layout.kv_heads;
  const int64_t tile = TileTokens(group);
  for (const SequenceSlice& sequence : sequences) {
    for (int head = 0; head < layout.kv_heads; ++head) {
      if (IsSplit(sequence, group)) {
        const int64_t pages = CeilDiv(sequence.position + sequence.tokens, kPageTokens);
        for (int64_t split = 0; split * kSplitPages < pages; ++split) {
          pieces_.push_back({&sequence, head, 0, sequence.tokens, split, slots_});
          slots_ += sequence.tokens * group;
        }
        continue;
      }
      for (int64_t token = 0; token < sequence.tokens; token += tile) {
        pieces_.push_back({&sequence, head, token, std::min(token + tile, sequence.tokens), -1, 0});
      }
    }
  }
}

AttentionScratch::AttentionScratch(int64_t rows_max, int64_t pages_max, int head_dim)
    : arena_(static_cast<size_t>(rows_max * CeilDiv(pages_max, kSplitPages) * head_dim) *
             sizeof(float)),
      stride_(head_dim),
      states_(static_cast<size_t>(rows_max * CeilDiv(pages_max, kSplitPages))) {}

int64_t SplitRowsMax(const KvLayout& layout, int heads) {
  return TileTokens(heads / layout.kv_heads) * heads;
}

size_t AttentionMemberBytes(int head_dim, int group) {
  const auto rows = static_cast<size_t>(TileRows(group));
  const size_t row_bytes = 3 * AlignUp(static_cast<size_t>(head_dim), 16) * sizeof(float) +
                           kPageTokens * sizeof(float) + 2 * sizeof(AttentionState) +
                           sizeof(int32_t);
  return rows * row_bytes + 8 * 64;
}

void StoreKv(OpContext& context, const AttentionArguments& arguments, const float* k,
             const float* v, int64_t ld) {
  const KvLayout& layout = *arguments.layout;
  const AttentionKernel& kernel = KernelFor(context.kernels, layout.dtype);
  int64_t rows = 0;
  for (const SequenceSlice& sequence : arguments.sequences) rows += sequence.tokens;
  const auto [begin, end] = context.member.Share(rows);
  for (const SequenceSlice& sequence : arguments.sequences) {
    const int64_t first = std::max(begin, sequence.row);
    const int64_t last = std::min(end, sequence.row + sequence.tokens);
    for (int64_t row = first; row < last; ++row) {
      const int64_t position = sequence.position + row - sequence.row;
      std::byte* page = sequence.pages[static_cast<size_t>(position / kPageTokens)];
      for (int head = 0; head < layout.kv_heads; ++head) {
        const int64_t at = row * ld + int64_t{head} * layout.head_dim;
        kernel.store(k + at, v + at, layout.head_dim, static_cast<int>(position % kPageTokens),
                     page + layout.k_offset(arguments.layer, head),
                     page + layout.v_offset(arguments.layer, head));
      }
    }
  }
}

void Attention(OpContext& context, const AttentionArguments& arguments, const AttentionPlan& plan,
               AttentionScratch& scratch) {
  INHOUSE_CHECK(plan.slots() <= scratch.slots(), "the attention scratch was sized for this step");
  Worker worker(context, arguments);
  WorkQueue& queue = context.scratch.queue();
  queue.Reset(context.member, static_cast<int64_t>(plan.pieces().size()));
  context.member.Barrier();
  queue.Drain(context.member, 1, [&](int64_t begin, int64_t /*end*/) {
    const AttentionPiece& piece = plan.pieces()[static_cast<size_t>(begin)];
    if (piece.split < 0) {
      worker.RunWhole(piece);
    } else {
      worker.RunPartial(piece, scratch.state(piece.slot), scratch.out(piece.slot));
    }
  });
  context.member.Barrier();
  if (plan.slots() == 0) return;
  MergeSplits(context, arguments, plan, scratch, worker);
  context.member.Barrier();
}

}  // namespace inhouse::engine
