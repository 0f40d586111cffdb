#include "engine/ops/linear.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "base/status.h"
#include "engine/ops/rows.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// A chunk of the work queue: about 128 KiB of weights, so that members even out without losing the
// stream.
int64_t ChunkPanels(int64_t panel_bytes) {
  constexpr int64_t kChunkBytes = 128 << 10;
  return std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(panel_bytes, 1));
}

// Calls f(first row, rows) for nearly equal blocks of whole strips. With their activations (0.2 to
// 0.8 MiB for 1536 columns) and a panel of outputs a member stays in its second-level cache more
// often than with all rows of a prompt.
template <typename F>
void ForRowBlocks(int64_t m, int64_t strip_rows, F f) {
  constexpr int64_t kRowsMax = 256;
  const int64_t blocks = CeilDiv(m, kRowsMax);
  const int64_t strips = CeilDiv(m, strip_rows);
  int64_t row = 0;
  for (int64_t block = 1; block <= blocks; ++block) {
    const int64_t end = std::min(strips * block / blocks * strip_rows, m);
    f(row, end - row);
    row = end;
  }
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
  linear.Begin(context, x, ldx, m, linear.panels_);
  const int64_t chunk = ChunkPanels(linear.segments_.front().panel_bytes);
  context.scratch.queue().Drain(context.member, chunk, [&](int64_t begin, int64_t end) {
    for (const Linear::Segment& segment : linear.segments_) {
      const int64_t first = std::max(begin, segment.panel_begin) - segment.panel_begin;
      const int64_t last =
          std::min(end, segment.panel_begin + segment.panels) - segment.panel_begin;
      ForRowBlocks(m, segment.kernel->strip_rows, [&](int64_t row, int64_t rows) {
        for (int64_t panel = first; panel < last; ++panel) {
          float* out = y + row * ldy + segment.row_begin + segment.panel_row(panel);
          linear.RunPanel(context, segment, panel, {row, rows, m}, out, ldy);
        }
      });
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
      own_floats * context.member.count() > m * n) {
    MatMul(context, linear, x, ldx, m, y, 2 * n);
    SwiGlu(context, y, n, m);
    return 2 * n;
  }
  linear.Begin(context, x, ldx, m, gate.panels);
  float* own_gate = y + m * n + context.member.index() * own_floats;
  context.scratch.queue().Drain(
      context.member, ChunkPanels(gate.panel_bytes), [&](int64_t begin, int64_t end) {
        ForRowBlocks(m, gate.kernel->strip_rows, [&](int64_t first, int64_t rows) {
          for (int64_t panel = begin; panel < end; ++panel) {
            const int64_t columns = gate.panel_row_count(panel);
            float* own_up = own_gate + rows * columns;
            linear.RunPanel(context, gate, panel, {first, rows, m}, own_gate, columns);
            linear.RunPanel(context, up, panel, {first, rows, m}, own_up, columns);
            context.kernels.elementwise->silu_mul(own_gate, own_up, rows * columns, own_gate);
            float* out = y + first * n + gate.panel_row(panel);
            for (int64_t row = 0; row < rows; ++row) {
              std::memcpy(out + row * n, own_gate + row * columns,
                          sizeof(float) * static_cast<size_t>(columns));
            }
          }
        });
      });
  context.member.Barrier();
  return n;
}

}  // namespace inhouse::engine
