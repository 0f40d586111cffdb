#include "engine/ops/linear.h"

#include <algorithm>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/ops/rows.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A prompt's rows are cut into nearly equal blocks of whole strips, and a member takes a panel for
// one block at a time: its activations, outputs and weights stay in the second-level cache more
// often than those of all rows, and members even out in smaller steps.
int64_t RowBlocks(int64_t m) { return CeilDiv(m, 256); }

// Items that a member takes from the queue at a time. Few rows wait for the weights: about 128 KiB
// of them, so that members even out without losing the stream.
int64_t ChunkItems(int64_t blocks, int64_t panel_bytes) {
  constexpr int64_t kChunkBytes = 128 << 10;
  return blocks > 1 ? 1 : std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(panel_bytes, 1));
}

absl::Status CheckPart(const LinearPart& part, int64_t in, const KernelTable& kernels) {
  const StoredMatrix& weight = part.weight;
  if (weight.columns() != in) {
    return base::InvalidInput({.field = weight.name(),
                               .value = ToString({weight.rows(), weight.columns()}),
                               .expected = fmt::format("a matrix with {} columns", in)});
  }
  if (kernels.matmul(weight.dtype()) == nullptr) {
    return base::InvalidInput({.field = weight.name(),
                               .value = std::string(Name(weight.dtype())),
                               .expected = "a floating or GGUF block type"});
  }
  INHOUSE_CHECK(
      part.row_order.empty() || static_cast<int64_t>(part.row_order.size()) == weight.rows(),
      "one entry per row");
  INHOUSE_CHECK(part.bias.empty() || static_cast<int64_t>(part.bias.size()) == weight.rows(),
                "one bias per row");
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Linear> Linear::Plan(std::vector<LinearPart> parts, const KernelTable& kernels,
                                    ActivationBits bits) {
  INHOUSE_CHECK(!parts.empty(), "a Linear has at least one part");
  Linear linear;
  linear.in_ = parts.front().weight.columns();
  const bool any_bias =
      std::any_of(parts.begin(), parts.end(), [](const LinearPart& p) { return !p.bias.empty(); });
  for (const LinearPart& part : parts) {
    INHOUSE_RETURN_IF_ERROR(CheckPart(part, linear.in_, kernels));
    const MatMulKernel* kernel = kernels.matmul(part.weight.dtype(), bits);
    const int64_t rows = part.weight.rows();
    const auto same = std::find_if(linear.activations_.begin(), linear.activations_.end(),
                                   [kernel](const Activation& a) {
                                     return a.kernel->activations == kernel->activations &&
                                            a.kernel->pack_strip == kernel->pack_strip;
                                   });
    const auto activation = static_cast<size_t>(same - linear.activations_.begin());
    if (same == linear.activations_.end()) linear.activations_.push_back({kernel});
    const int64_t panels = CeilDiv(rows, kernel->panel_rows);
    const int64_t panel_bytes = kernel->panel_bytes(linear.in_);
    linear.segments_.push_back({kernel, linear.out_, rows, panels, linear.panels_, panel_bytes,
                                linear.packed_bytes_, activation});
    if (any_bias) {
      linear.bias_.resize(static_cast<size_t>(linear.out_), 0.0F);
      linear.bias_.insert(linear.bias_.end(), part.bias.begin(), part.bias.end());
      linear.bias_.resize(static_cast<size_t>(linear.out_ + rows), 0.0F);
    }
    linear.out_ += rows;
    linear.panels_ += panels;
    linear.packed_bytes_ += panels * panel_bytes;
    linear.stored_bytes_ += part.weight.stored_bytes();
  }
  linear.parts_ = std::move(parts);
  return linear;
}

size_t Linear::ActivationBytes(const Activation& activation, int64_t rows) const {
  const int64_t strips = CeilDiv(rows, activation.kernel->strip_rows);
  return AlignUp(static_cast<size_t>(strips * activation.kernel->strip_bytes(in_)), 64);
}

size_t Linear::packed_activation_bytes(int64_t rows) const {
  size_t bytes = 0;
  for (const Activation& activation : activations_) bytes += ActivationBytes(activation, rows);
  return bytes;
}

size_t Linear::member_scratch_bytes() const {
  int64_t bytes = 0;
  for (const Segment& segment : segments_) {
    bytes = std::max(bytes, segment.kernel->scratch_bytes(in_));
  }
  return static_cast<size_t>(bytes);
}

DotUnit Linear::dot_unit() const {
  const auto largest =
      std::max_element(segments_.begin(), segments_.end(),
                       [](const Segment& a, const Segment& b) { return a.rows < b.rows; });
  return DotUnitOf(*largest->kernel);
}

void Linear::ReleaseParts() {
  parts_.clear();
  parts_.shrink_to_fit();
}

const Linear::Segment& Linear::SegmentOf(int64_t panel) const {
  size_t i = segments_.size() - 1;
  while (segments_[i].panel_begin > panel) --i;
  return segments_[i];
}

Linear::RowBlock Linear::Segment::block(int64_t index, int64_t count, int64_t m) const {
  if (count == 1) return {0, m, m};
  const int64_t strip_rows = kernel->strip_rows;
  const int64_t strips = CeilDiv(m, strip_rows);
  const int64_t begin = strips * index / count * strip_rows;
  const int64_t end = std::min(strips * (index + 1) / count * strip_rows, m);
  return {begin, end - begin, m};
}

std::byte* Linear::PackedActivation(const OpScratch& scratch, size_t activation, int64_t m) const {
  size_t offset = 0;
  for (size_t i = 0; i < activation; ++i) offset += ActivationBytes(activations_[i], m);
  return scratch.packed() + offset;
}

void Linear::RunPanel(const OpContext& context, const Segment& segment, int64_t panel,
                      const RowBlock& block, float* y, int64_t ldy) const {
  const MatMulKernel& kernel = *segment.kernel;
  const int64_t n = segment.panel_row_count(panel);
  const std::byte* x = PackedActivation(context.scratch, segment.activation, block.of);
  kernel.run({.panel = packed_ + segment.byte_begin + panel * segment.panel_bytes,
              .x = x + block.begin / kernel.strip_rows * kernel.strip_bytes(in_),
              .m = block.rows,
              .k = in_,
              .n_rows = static_cast<int>(n),
              .y = y,
              .ldy = ldy,
              .scratch = context.scratch.member(context.member.index())});
  if (bias_.empty()) return;
  const float* bias = bias_.data() + segment.row_begin + segment.panel_row(panel);
  for (int64_t row = 0; row < block.rows; ++row) {
    for (int64_t i = 0; i < n; ++i) y[row * ldy + i] += bias[i];
  }
}

void Linear::Begin(OpContext& context, const float* x, int64_t ldx, int64_t m,
                   int64_t items) const {
  INHOUSE_CHECK(packed_ != nullptr, "the weights are packed before the first product");
  INHOUSE_CHECK(packed_activation_bytes(m) <= context.scratch.packed_bytes() &&
                    member_scratch_bytes() <= context.scratch.member_bytes(),
                "the scratch was sized for this product");
  if (context.observer != nullptr) context.observer->Observe(context.member, *this, {x, ldx, m});
  for (size_t a = 0; a < activations_.size(); ++a) {
    const MatMulKernel& kernel = *activations_[a].kernel;
    const auto [begin, end] = context.member.Share(CeilDiv(m, kernel.strip_rows));
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t m0 = strip * kernel.strip_rows;
      kernel.pack_strip(x, ldx, m0, std::min<int64_t>(m0 + kernel.strip_rows, m), m, in_,
                        PackedActivation(context.scratch, a, m));
    }
  }
  context.scratch.queue().Reset(context.member, items);
  context.member.Barrier();
}

void MatMul(OpContext& context, const Linear& linear, const float* x, int64_t ldx, int64_t m,
            float* y, int64_t ldy) {
  const int64_t blocks = RowBlocks(m);
  linear.Begin(context, x, ldx, m, linear.panels_ * blocks);
  const int64_t chunk = ChunkItems(blocks, linear.segments_.front().panel_bytes);
  context.scratch.queue().Drain(context.member, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const Linear::Segment& segment = linear.SegmentOf(item / blocks);
      const int64_t panel = item / blocks - segment.panel_begin;
      const Linear::RowBlock block = segment.block(item % blocks, blocks, m);
      float* out = y + block.begin * ldy + segment.row_begin + segment.panel_row(panel);
      linear.RunPanel(context, segment, panel, block, out, ldy);
    }
  });
  context.member.Barrier();
}

int64_t MatMulSwiGlu(OpContext& context, const Linear& linear, const float* x, int64_t ldx,
                     int64_t m, float* y) {
  INHOUSE_CHECK(linear.segments_.size() == 2, "gate and up");
  const Linear::Segment& gate = linear.segments_[0];
  const Linear::Segment& up = linear.segments_[1];
  const int64_t n = gate.rows;
  // A member's part of the second half of y.
  const int64_t own_floats = 2 * m * gate.kernel->panel_rows;
  // Reading gate and up in turns is no stream: few rows, which wait for the weights, take them one
  // after the other.
  constexpr int64_t kRowsMin = 32;
  if (m < kRowsMin || gate.kernel->panel_rows != up.kernel->panel_rows ||
      gate.kernel->strip_rows != up.kernel->strip_rows ||
      own_floats * context.member.count() > m * n) {
    MatMul(context, linear, x, ldx, m, y, 2 * n);
    SwiGlu(context, y, n, m);
    return 2 * n;
  }
  const int64_t blocks = RowBlocks(m);
  linear.Begin(context, x, ldx, m, gate.panels * blocks);
  float* own_gate = y + m * n + context.member.index() * own_floats;
  const auto silu_mul = context.kernels.elementwise->silu_mul;
  const int64_t chunk = ChunkItems(blocks, gate.panel_bytes);
  context.scratch.queue().Drain(context.member, chunk, [&](int64_t begin, int64_t end) {
    for (int64_t item = begin; item < end; ++item) {
      const int64_t panel = item / blocks;
      const Linear::RowBlock block = gate.block(item % blocks, blocks, m);
      const int64_t columns = gate.panel_row_count(panel);
      float* own_up = own_gate + block.rows * columns;
      linear.RunPanel(context, gate, panel, block, own_gate, columns);
      linear.RunPanel(context, up, panel, block, own_up, columns);
      float* out = y + block.begin * n + gate.panel_row(panel);
      for (int64_t row = 0; row < block.rows; ++row) {
        silu_mul(own_gate + row * columns, own_up + row * columns, columns, out + row * n);
      }
    }
  });
  context.member.Barrier();
  return n;
}

}  // namespace inhouse::engine
