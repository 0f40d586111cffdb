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

// A chunk of the work queue: about 128 KiB of weights, so that members even out without losing the
// stream.
int64_t ChunkPanels(int64_t panel_bytes) {
  constexpr int64_t kChunkBytes = 128 << 10;
  return std::max<int64_t>(1, kChunkBytes / std::max<int64_t>(panel_bytes, 1));
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

void Linear::RunPanels(const Panels& panels, int64_t m, const OpScratch& scratch, int member,
                       float* y, int64_t ldy) const {
  const Segment& segment = *panels.segment;
  for (int64_t panel = panels.begin; panel < panels.end; ++panel) {
    const int64_t row0 = panel * segment.kernel->panel_rows;
    const int64_t out0 = segment.row_begin + row0;
    const auto n =
        static_cast<int>(std::min<int64_t>(segment.kernel->panel_rows, segment.rows - row0));
    segment.kernel->run({.panel = packed_ + segment.byte_begin + panel * segment.panel_bytes,
                         .x = PackedActivation(scratch, segment.activation, m),
                         .m = m,
                         .k = in_,
                         .n_rows = n,
                         .y = y + out0,
                         .ldy = ldy,
                         .scratch = scratch.member(member)});
    if (bias_.empty()) continue;
    for (int64_t row = 0; row < m; ++row) {
      float* out = y + row * ldy + out0;
      for (int i = 0; i < n; ++i) out[i] += bias_[static_cast<size_t>(out0 + i)];
    }
  }
}

void Linear::CheckScratch(const OpContext& context, int64_t m) const {
  INHOUSE_CHECK(packed_ != nullptr, "the weights are packed before the first product");
  INHOUSE_CHECK(packed_activation_bytes(m) <= context.scratch.packed_bytes() &&
                    member_scratch_bytes() <= context.scratch.member_bytes(),
                "the scratch was sized for this product");
}

void Linear::PackActivations(OpContext& context, const float* x, int64_t ldx, int64_t m,
                             absl::FunctionRef<void(int64_t, int64_t)> make) const {
  for (size_t a = 0; a < activations_.size(); ++a) {
    const MatMulKernel& kernel = *activations_[a].kernel;
    const auto [begin, end] = context.member.Share(CeilDiv(m, kernel.strip_rows));
    for (int64_t strip = begin; strip < end; ++strip) {
      const int64_t m0 = strip * kernel.strip_rows;
      const int64_t m1 = std::min<int64_t>(m0 + kernel.strip_rows, m);
      make(m0, m1);
      kernel.pack_strip(x, ldx, m0, m1, m, in_, PackedActivation(context.scratch, a, m));
    }
  }
}

void Linear::RunPacked(OpContext& context, int64_t m, float* y, int64_t ldy) const {
  WorkQueue& queue = context.scratch.queue();
  queue.Reset(context.member, panels_);
  context.member.Barrier();
  const int64_t chunk = ChunkPanels(segments_.front().panel_bytes);
  queue.Drain(context.member, chunk, [&](int64_t begin, int64_t end) {
    for (const Segment& segment : segments_) {
      const int64_t first = std::max(begin, segment.panel_begin) - segment.panel_begin;
      const int64_t last =
          std::min(end, segment.panel_begin + segment.panels) - segment.panel_begin;
      if (first >= last) continue;
      RunPanels({&segment, first, last}, m, context.scratch, context.member.index(), y, ldy);
    }
  });
  context.member.Barrier();
}

void MatMul(OpContext& context, const Linear& linear, const float* x, int64_t ldx, int64_t m,
            float* y, int64_t ldy) {
  linear.CheckScratch(context, m);
  if (context.observer != nullptr) context.observer->Observe(context.member, linear, {x, ldx, m});
  linear.PackActivations(context, x, ldx, m, [](int64_t, int64_t) {});
  linear.RunPacked(context, m, y, ldy);
}

void SwiGluMatMul(OpContext& context, const Linear& linear, float* x, int64_t m, float* y,
                  int64_t ldy) {
  const int64_t in = linear.in_;
  const int64_t strips = CeilDiv(m, linear.activations_.front().kernel->strip_rows);
  // Few rows are cut along their columns, so that every member has work.
  if (strips < context.member.count() || linear.activations_.size() > 1 ||
      context.observer != nullptr) {
    SwiGlu(context, x, in, m);
    context.Mark(OpClass::kActivation);
    return MatMul(context, linear, x, 2 * in, m, y, ldy);
  }
  linear.CheckScratch(context, m);
  linear.PackActivations(context, x, 2 * in, m, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      float* gate = x + r * 2 * in;
      context.kernels.elementwise->silu_mul(gate, gate + in, in, gate);
    }
  });
  linear.RunPacked(context, m, y, ldy);
}

}  // namespace inhouse::engine
