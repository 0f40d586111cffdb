#include "engine/ops/low_rank.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

constexpr size_t kAlignment = 64;  // of what kernels read
// Groups that are computed together. More, each with a strip of its own, would want much scratch.
constexpr size_t kGroupsMax = 16;
// A x is cut into so many strips of rows, or a long prompt would keep as many members busy as A has
// panels, which is one.
constexpr int64_t kBlockStrips = 4;

size_t Aligned(int64_t bytes) { return AlignUp(static_cast<size_t>(bytes), kAlignment); }

const MatMulKernel& FloatKernel(const KernelTable& kernels, DType stored) {
  const MatMulKernel* kernel = kernels.matmul(stored);
  INHOUSE_CHECK(kernel != nullptr && kernel->activations == ActivationLayout::kF32,
                "every level multiplies floats as they are");
  return *kernel;
}

void PackRows(const MatMulKernel& kernel, const std::vector<float>& rows, int64_t columns,
              std::byte* memory) {
  const int64_t count = static_cast<int64_t>(rows.size()) / columns;
  std::vector<uint16_t> halves;
  if (kernel.weights == DType::kF16) {
    for (const float value : rows) halves.push_back(ToF16(value));
  }
  const auto row_at = [&](int64_t row) {
    const int64_t at = row * columns;
    return halves.empty() ? reinterpret_cast<const std::byte*>(rows.data() + at)
                          : reinterpret_cast<const std::byte*>(halves.data() + at);
  };
  std::vector<const std::byte*> pointers;
  for (int64_t row = 0; row < count; row += kernel.panel_rows) {
    const int64_t n = std::min<int64_t>(kernel.panel_rows, count - row);
    pointers.clear();
    for (int64_t i = 0; i < n; ++i) {
      pointers.push_back(row_at(row + i));
    }
    kernel.pack_panel(pointers.data(), static_cast<int>(n), columns, memory);
    memory += kernel.panel_bytes(columns);
  }
}

int64_t KernelScratch(const MatMulKernel& kernel, int64_t in, int64_t rank) {
  return std::max(kernel.scratch_bytes(in), kernel.scratch_bytes(std::max<int64_t>(rank, 1)));
}

}  // namespace

bool FitsF16(std::span<const float> values) {
  constexpr double kErrorMax = 0x1p-11;
  double error = 0;
  double size = 0;
  for (const float value : values) {
    const double difference = double{FromF16(ToF16(value))} - double{value};
    error += difference * difference;  // infinite beyond the range
    size += double{value} * double{value};
  }
  return error <= kErrorMax * kErrorMax * size;
}

LowRank::LowRank(const KernelTable& kernels, DType stored, int64_t in,
                 std::span<const LowRankPart> parts)
    : kernel_(&FloatKernel(kernels, stored)), in_(in) {
  for (const LowRankPart& part : parts) rank_ += part.rank;
  a_panels_ = CeilDiv(rank_, kernel_->panel_rows);
  a_panel_bytes_ = kernel_->panel_bytes(in);
  packed_bytes_ = a_panels_ * a_panel_bytes_;
  int64_t rank_begin = 0;
  for (const LowRankPart& part : parts) {
    const int64_t panels = CeilDiv(part.out_rows, kernel_->panel_rows);
    const int64_t panel_bytes = part.rank > 0 ? kernel_->panel_bytes(part.rank) : 0;
    parts_.push_back({part.out_begin, part.out_rows, rank_begin, part.rank, panels, b_panels_,
                      panel_bytes, packed_bytes_, part.shift});
    rank_begin += part.rank;
    b_panels_ += panels;
    packed_bytes_ += panels * panel_bytes;
  }
}

void LowRank::Pack(std::span<const LowRankPart> parts, std::byte* memory) {
  std::vector<float> a;  // of all parts: they read the same x
  for (const LowRankPart& part : parts) a.insert(a.end(), part.a.begin(), part.a.end());
  if (rank_ > 0) PackRows(*kernel_, a, in_, memory);
  for (size_t i = 0; i < parts_.size(); ++i) {
    if (parts_[i].rank == 0) continue;
    PackRows(*kernel_, parts[i].b, parts_[i].rank, memory + parts_[i].byte_begin);
  }
  packed_ = memory;
}

// One AddLowRank: where everything lies in the shared scratch, and its four phases. Every member
// makes its own, with the same numbers.
class LowRankStep {
 public:
  LowRankStep(OpContext& context, std::span<const LowRankRows> groups, const float* x, int64_t ldx,
              float* y, int64_t ldy)
      : context_(context), x_(x), ldx_(ldx), y_(y), ldy_(ldy) {
    size_t next = 0;
    int64_t scratch = 0;
    int64_t tile_floats = 0;
    const auto take = [&next](int64_t bytes) { return std::exchange(next, next + Aligned(bytes)); };
    for (const LowRankRows& rows : groups) {
      const LowRank& update = *rows.update;
      const auto m = static_cast<int64_t>(rows.rows.size());
      if (update.empty() || m == 0) continue;
      const MatMulKernel& kernel = *update.kernel_;
      Group group{.update = &update, .rows = rows.rows, .strips = CeilDiv(m, kernel.strip_rows)};
      group.strip_begin = strips_;
      group.u_strip_begin = u_strips_;
      group.a_item_begin = a_items_;
      group.b_panel_begin = b_panels_;
      strips_ += update.rank_ > 0 ? group.strips : 0;
      u_strips_ += group.strips * static_cast<int64_t>(update.parts_.size());
      group.blocks = CeilDiv(group.strips, kBlockStrips);
      a_items_ += update.a_panels_ * group.blocks;
      b_panels_ += update.b_panels_;
      group.x = take(update.rank_ > 0 ? group.strips * kernel.strip_bytes(update.in_) : 0);
      group.u = take(m * update.rank_ * static_cast<int64_t>(sizeof(float)));
      for (const LowRank::Part& part : update.parts_) {
        group.packed_u.push_back(
            take(part.rank > 0 ? group.strips * kernel.strip_bytes(part.rank) : 0));
      }
      tile_floats = std::max({tile_floats, kernel.strip_rows * update.in_, m * kernel.panel_rows});
      scratch = std::max(scratch, KernelScratch(kernel, update.in_, update.rank_));
      groups_.push_back(std::move(group));
    }
    own_ = context.scratch.member(context.member.index());
    tile_ = reinterpret_cast<float*>(own_ + Aligned(scratch));
    INHOUSE_CHECK(
        next <= context.scratch.packed_bytes() &&
            Aligned(scratch) + Aligned(tile_floats * static_cast<int64_t>(sizeof(float))) <=
                context.scratch.member_bytes(),
        "the scratch was sized for these adapters");
  }

  void Run() {
    if (groups_.empty()) return;
    WorkQueue& queue = context_.scratch.queue();
    if (a_items_ > 0) {
      queue.Reset(context_.member, a_items_);
      ForShare(
          strips_, [](const Group& g) { return g.strip_begin; },
          [this](const Group& g, int64_t strip) { PackX(g, strip); });
      context_.member.Barrier();
      queue.Drain(context_.member, 1, [this](int64_t item, int64_t) { RunA(item); });
      context_.member.Barrier();
    }
    queue.Reset(context_.member, b_panels_);
    if (a_items_ > 0) {
      ForShare(
          u_strips_, [](const Group& g) { return g.u_strip_begin; },
          [this](const Group& g, int64_t item) { PackU(g, item); });
    }
    context_.member.Barrier();
    const int64_t chunk = std::max<int64_t>(1, b_panels_ / (8 * int64_t{context_.member.count()}));
    queue.Drain(context_.member, chunk, [this](int64_t begin, int64_t end) {
      for (int64_t panel = begin; panel < end; ++panel) RunB(panel);
    });
    context_.member.Barrier();
  }

 private:
  struct Group {
    const LowRank* update = nullptr;
    std::span<const int64_t> rows = {};
    int64_t strips = 0;
    int64_t blocks = 0;
    int64_t strip_begin = 0;  // of all groups' work of this kind, as are the next three
    int64_t u_strip_begin = 0;
    int64_t a_item_begin = 0;
    int64_t b_panel_begin = 0;
    size_t x = 0;                       // offsets in the shared scratch: strips of x, ...
    size_t u = 0;                       // ... A x as rows [m][rank], ...
    std::vector<size_t> packed_u = {};  // ... and its strips, of each part
  };

  // The group that item `index` of all groups' work belongs to.
  template <typename Begin>
  const Group& GroupOf(int64_t index, const Begin& begin) const {
    const auto after = std::upper_bound(
        groups_.begin(), groups_.end(), index,
        [&begin](int64_t item, const Group& group) { return item < begin(group); });
    return *std::prev(after);
  }

  // Calls `work(group, item of the group)` for this member's share.
  template <typename Begin, typename Work>
  void ForShare(int64_t items, const Begin& begin, const Work& work) const {
    const auto [first, last] = context_.member.Share(items);
    for (int64_t item = first; item < last; ++item) {
      const Group& group = GroupOf(item, begin);
      work(group, item - begin(group));
    }
  }

  std::byte* Shared(size_t offset) const { return context_.scratch.packed() + offset; }
  static int64_t Rows(const Group& group) { return static_cast<int64_t>(group.rows.size()); }

  // One strip of x: as it lies there if its rows stand together, else through the tile.
  void PackX(const Group& group, int64_t strip) const {
    const MatMulKernel& kernel = *group.update->kernel_;
    const int64_t in = group.update->in_;
    const int64_t m0 = strip * kernel.strip_rows;
    const int64_t n = std::min<int64_t>(kernel.strip_rows, Rows(group) - m0);
    const std::span<const int64_t> rows =
        group.rows.subspan(static_cast<size_t>(m0), static_cast<size_t>(n));
    const float* from = x_ + rows.front() * ldx_;
    int64_t ld = ldx_;
    if (rows.back() - rows.front() != n - 1) {
      for (int64_t i = 0; i < n; ++i) {
        std::memcpy(tile_ + i * in, x_ + rows[static_cast<size_t>(i)] * ldx_,
                    static_cast<size_t>(in) * sizeof(float));
      }
      from = tile_;
      ld = in;
    }
    kernel.pack_strip(from, ld, 0, n, n, in, Shared(group.x) + strip * kernel.strip_bytes(in));
  }

  // One panel of A for a block of the group's rows.
  void RunA(int64_t item) const {
    const Group& group = GroupOf(item, [](const Group& g) { return g.a_item_begin; });
    const LowRank& update = *group.update;
    const MatMulKernel& kernel = *update.kernel_;
    const int64_t panel = (item - group.a_item_begin) / group.blocks;
    const int64_t strip = (item - group.a_item_begin) % group.blocks * kBlockStrips;
    const int64_t m0 = strip * kernel.strip_rows;
    const int64_t row0 = panel * kernel.panel_rows;
    kernel.run(
        {.panel = update.packed_ + panel * update.a_panel_bytes_,
         .x = Shared(group.x) + strip * kernel.strip_bytes(update.in_),
         .m = std::min<int64_t>(kBlockStrips * kernel.strip_rows, Rows(group) - m0),
         .k = update.in_,
         .n_rows = static_cast<int>(std::min<int64_t>(kernel.panel_rows, update.rank_ - row0)),
         .y = reinterpret_cast<float*>(Shared(group.u)) + m0 * update.rank_ + row0,
         .ldy = update.rank_,
         .scratch = own_});
  }

  void PackU(const Group& group, int64_t item) const {
    const LowRank& update = *group.update;
    const MatMulKernel& kernel = *update.kernel_;
    const auto part = static_cast<size_t>(item / group.strips);
    const int64_t rank = update.parts_[part].rank;
    if (rank == 0) return;
    const int64_t strip = item % group.strips;
    const int64_t m0 = strip * kernel.strip_rows;
    const int64_t n = std::min<int64_t>(kernel.strip_rows, Rows(group) - m0);
    const float* u = reinterpret_cast<const float*>(Shared(group.u)) + m0 * update.rank_ +
                     update.parts_[part].rank_begin;
    kernel.pack_strip(u, update.rank_, 0, n, n, rank,
                      Shared(group.packed_u[part]) + strip * kernel.strip_bytes(rank));
  }

  // One panel of one part's B for all rows of the group, added to y.
  void RunB(int64_t item) const {
    const Group& group = GroupOf(item, [](const Group& g) { return g.b_panel_begin; });
    const LowRank& update = *group.update;
    const MatMulKernel& kernel = *update.kernel_;
    const int64_t index = item - group.b_panel_begin;
    size_t p = update.parts_.size() - 1;
    while (update.parts_[p].panel_begin > index) --p;
    const LowRank::Part& part = update.parts_[p];
    const int64_t panel = index - part.panel_begin;
    const int64_t row0 = panel * kernel.panel_rows;
    const int64_t n = std::min<int64_t>(kernel.panel_rows, part.out_rows - row0);
    if (part.rank > 0) {
      kernel.run({.panel = update.packed_ + part.byte_begin + panel * part.panel_bytes,
                  .x = Shared(group.packed_u[p]),
                  .m = Rows(group),
                  .k = part.rank,
                  .n_rows = static_cast<int>(n),
                  .y = tile_,
                  .ldy = kernel.panel_rows,
                  .scratch = own_});
    }
    for (int64_t i = 0; i < Rows(group); ++i) {
      float* out = y_ + group.rows[static_cast<size_t>(i)] * ldy_ + part.out_begin + row0;
      if (part.rank > 0) context_.kernels.elementwise->add(out, tile_ + i * kernel.panel_rows, n);
      if (!part.shift.empty()) context_.kernels.elementwise->add(out, part.shift.data() + row0, n);
    }
  }

  OpContext& context_;
  const float* x_;
  int64_t ldx_;
  float* y_;
  int64_t ldy_;
  std::vector<Group> groups_;
  int64_t strips_ = 0;
  int64_t u_strips_ = 0;
  int64_t a_items_ = 0;
  int64_t b_panels_ = 0;
  std::byte* own_ = nullptr;  // the kernels' scratch of this member
  float* tile_ = nullptr;     // behind it
};

namespace {

size_t PackedBytesOf(const MatMulKernel& kernel, const LowRankLimits& limits, int64_t in) {
  // Every group begins a strip of its own, and every piece is aligned.
  const int64_t groups = std::min(limits.groups, static_cast<int64_t>(kGroupsMax));
  const int64_t strips = CeilDiv(limits.rows, kernel.strip_rows) + groups;
  const int64_t u = limits.rows * limits.rank * static_cast<int64_t>(sizeof(float));
  // Strips of parts together: each is padded on its own.
  const int64_t packed_u =
      strips * (kernel.strip_bytes(limits.rank) + limits.parts * kernel.strip_bytes(1));
  return Aligned(strips * kernel.strip_bytes(in) + u + packed_u) +
         static_cast<size_t>(groups * (2 + limits.parts)) * kAlignment;
}

size_t MemberBytesOf(const MatMulKernel& kernel, const LowRankLimits& limits, int64_t in) {
  const int64_t tile = std::max(kernel.strip_rows * in, limits.rows * kernel.panel_rows);
  return Aligned(KernelScratch(kernel, in, limits.rank)) +
         Aligned(tile * static_cast<int64_t>(sizeof(float)));
}

}  // namespace

size_t LowRankPackedBytes(const KernelTable& kernels, const LowRankLimits& limits, int64_t in) {
  if (limits.rank == 0 || limits.groups == 0) return 0;
  return std::max(PackedBytesOf(FloatKernel(kernels, DType::kF32), limits, in),
                  PackedBytesOf(FloatKernel(kernels, DType::kF16), limits, in));
}

size_t LowRankMemberBytes(const KernelTable& kernels, const LowRankLimits& limits, int64_t in) {
  if (limits.rank == 0 || limits.groups == 0) return 0;
  return std::max(MemberBytesOf(FloatKernel(kernels, DType::kF32), limits, in),
                  MemberBytesOf(FloatKernel(kernels, DType::kF16), limits, in));
}

void AddLowRank(OpContext& context, std::span<const LowRankRows> groups, const float* x,
                int64_t ldx, float* y, int64_t ldy) {
  for (size_t begin = 0; begin < groups.size(); begin += kGroupsMax) {
    const auto some = groups.subspan(begin, std::min(kGroupsMax, groups.size() - begin));
    LowRankStep(context, some, x, ldx, y, ldy).Run();
  }
}

}  // namespace inhouse::engine
