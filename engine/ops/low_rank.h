// y += B (A x): what an adapter adds to the outputs of one Linear, for some rows of a step.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "engine/ops/op_context.h"
#include "engine/tensor/dtype.h"

namespace inhouse::engine {

// The update of a run of a Linear's outputs (of q, of k, ...): its own A and B.
struct LowRankPart {
  int64_t out_begin = 0;
  int64_t out_rows = 0;
  int64_t rank = 0;               // 0: only `shift`
  std::vector<float> a = {};      // [rank][in]
  std::vector<float> b = {};      // [out_rows][rank], the scale multiplied in
  std::vector<float> shift = {};  // [out_rows] or empty: what is added to y besides
};

// The updates of all parts of one Linear by one adapter, packed for the kernels of one level. Both
// products are computed in float32, with A and B in F32 or F16, whatever the Linear's weights are
// (docs/decisions/0014). Immutable once packed; any thread may read.
class LowRank {
 public:
  // Parts in ascending order of their outputs, which do not overlap. Empty: no update.
  LowRank() = default;
  // `stored` is kF32, or kF16 if the values bear it (FitsF16).
  LowRank(const KernelTable& kernels, DType stored, int64_t in, std::span<const LowRankPart> parts);

  bool empty() const { return parts_.empty(); }
  int64_t rank() const { return rank_; }  // of all parts together
  int64_t packed_bytes() const { return packed_bytes_; }

  // Packs A and B into `memory` (packed_bytes(), 64-byte aligned), which must outlive the update.
  void Pack(std::span<const LowRankPart> parts, std::byte* memory);

 private:
  friend class LowRankStep;

  struct Part {
    int64_t out_begin;
    int64_t out_rows;
    int64_t rank_begin;  // of its first row in A
    int64_t rank;
    int64_t panels;       // of B; also of a part that is only a shift
    int64_t panel_begin;  // of the whole update
    int64_t panel_bytes;
    int64_t byte_begin;  // of B in the packed memory
    std::vector<float> shift;
  };

  const MatMulKernel* kernel_ = nullptr;
  int64_t in_ = 0;
  int64_t rank_ = 0;
  int64_t a_panels_ = 0;
  int64_t a_panel_bytes_ = 0;
  int64_t b_panels_ = 0;
  int64_t packed_bytes_ = 0;
  std::vector<Part> parts_;
  const std::byte* packed_ = nullptr;
};

// Whether rounding to F16 changes the values, taken together, by less than 2^-11 of their size: so
// little that BF16, in which others keep adapters, is eight times coarser. False for numbers beyond
// F16's range, and where most are so small that F16 has few bits for them.
bool FitsF16(std::span<const float> values);

// The rows of a product that one adapter changes, ascending.
struct LowRankRows {
  const LowRank* update = nullptr;
  std::span<const int64_t> rows = {};
};

// What LowRank products of a step need of OpScratch at most.
struct LowRankLimits {
  int64_t rows = 0;    // of a step
  int64_t groups = 0;  // adapters in a step
  int64_t rank = 0;    // of all parts of one Linear
  int64_t parts = 0;   // of one Linear
};
size_t LowRankPackedBytes(const KernelTable& kernels, const LowRankLimits& limits, int64_t in);
size_t LowRankMemberBytes(const KernelTable& kernels, const LowRankLimits& limits, int64_t in);

// y[row] += the update for each row of each group; x and y are those of the MatMul before, whose
// observer and profile it leaves alone. A row stands in one group at most. An element of y is
// computed by the same operations whatever the other rows and groups are. Collective; ends with a
// barrier.
void AddLowRank(OpContext& context, std::span<const LowRankRows> groups, const float* x,
                int64_t ldx, float* y, int64_t ldy);

}  // namespace inhouse::engine
