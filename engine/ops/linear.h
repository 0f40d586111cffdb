// y = W x + b: weights packed once at load for the chosen ISA level, then streamed by the whole
// team.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/packed_file.h"
#include "engine/formats/stored_matrix.h"
#include "engine/kernels/probe/probe.h"
#include "engine/ops/op_context.h"

namespace inhouse::engine {

// Stored rows that form a part of a Linear's outputs. What the matrix views stays valid until
// Pack() has returned.
struct LinearPart {
  StoredMatrix weight = {};  // [out, in]
  // Output row i is stored row row_order[i]; empty = in order. (GGUF llama files store q and k
  // permuted.)
  std::vector<int64_t> row_order = {};
  std::vector<float> bias = {};  // [out] or empty
};

// Several parts with the same input are one product: q, k and v; gate and up. They may differ in
// stored type.
class Linear {
 public:
  // Checks shapes and types against the kernels. `bits` is how finely the activations of integer
  // products may be rounded. Errors name the tensor.
  static absl::StatusOr<Linear> Plan(std::vector<LinearPart> parts, const KernelTable& kernels,
                                     ActivationBits bits = ActivationBits::k16);

  int64_t in_features() const { return in_; }
  int64_t out_features() const { return out_; }
  int64_t packed_bytes() const { return packed_bytes_; }
  int64_t stored_bytes() const { return stored_bytes_; }  // of all tensors of the parts
  DotUnit dot_unit() const;                               // of the largest part
  // Bytes that MatMul needs of OpScratch for up to `rows` activation rows.
  size_t packed_activation_bytes(int64_t rows) const;
  size_t member_scratch_bytes() const;

  // Packs this member's share of the panels into `memory` (packed_bytes(), 64-byte aligned).
  // Collective, without a barrier. Asks for stored rows before it needs them and gives the pages
  // back behind itself. The stored rows are not needed afterwards.
  void Pack(const base::TeamMember& member, std::byte* memory) const;
  // From now on the products read the panels there: what Pack wrote, now or in another process.
  void Attach(const std::byte* memory) { packed_ = memory; }

  // Appends what a file of panels says about them, as if `memory` began at `offset`.
  void Describe(int64_t offset, std::vector<PackedSection>* sections) const;
  // Packs one panel of each part anew and compares: FailedPrecondition that names the matrix if
  // `memory` holds other weights or another layout.
  absl::Status SpotCheck(const std::byte* memory) const;

  std::span<const float> bias() const { return bias_; }  // [out] or empty
  const std::vector<LinearPart>& parts() const { return parts_; }
  void ReleaseParts();  // after all members have packed

 private:
  friend void MatMul(OpContext& context, const Linear& linear, const float* x, int64_t ldx,
                     int64_t m, float* y, int64_t ldy);
  friend int64_t MatMulSwiGlu(OpContext& context, const Linear& linear, const float* x, int64_t ldx,
                              int64_t m, float* y);

  // Some rows of x: whole strips of the `of` that were laid out.
  struct RowBlock {
    int64_t begin;
    int64_t rows;
    int64_t of;
  };
  // A run of outputs with one kernel.
  struct Segment {
    const MatMulKernel* kernel;
    int64_t row_begin;  // first output
    int64_t rows;
    int64_t panels;
    int64_t panel_begin;  // of the whole Linear
    int64_t panel_bytes;
    int64_t byte_begin;  // in the packed memory
    size_t activation;   // index into activations_

    int64_t panel_row(int64_t panel) const { return panel * kernel->panel_rows; }
    int64_t panel_row_count(int64_t panel) const {
      return std::min<int64_t>(kernel->panel_rows, rows - panel_row(panel));
    }
    // One of `count` nearly equal blocks of m rows of x.
    RowBlock block(int64_t index, int64_t count, int64_t m) const;
  };
  // A distinct way to lay out x.
  struct Activation {
    const MatMulKernel* kernel;  // packs it
  };

  struct Packer;
  class StoredRows;
  void PackSegment(const Segment& segment, const LinearPart& part,
                   std::pair<int64_t, int64_t> share, std::byte* memory) const;

  const Segment& SegmentOf(int64_t panel) const;
  // What a product begins with, until all rows of x are laid out and the queue holds `items`.
  void Begin(OpContext& context, const float* x, int64_t ldx, int64_t m, int64_t items) const;
  // The outputs of one panel for a block: y[rows][ldy] begins with its first.
  void RunPanel(const OpContext& context, const Segment& segment, int64_t panel,
                const RowBlock& block, float* y, int64_t ldy) const;
  std::byte* PackedActivation(const OpScratch& scratch, size_t activation, int64_t m) const;
  size_t ActivationBytes(const Activation& activation, int64_t rows) const;

  std::vector<LinearPart> parts_;
  std::vector<Segment> segments_;
  std::vector<Activation> activations_;  // one per distinct layout
  std::vector<float> bias_;              // [out] or empty
  int64_t in_ = 0;
  int64_t out_ = 0;
  int64_t packed_bytes_ = 0;
  int64_t stored_bytes_ = 0;
  int64_t panels_ = 0;
  const std::byte* packed_ = nullptr;
};

// y[m][out] = W x[m][in] + b for m >= 1 rows. Collective.
void MatMul(OpContext& context, const Linear& linear, const float* x, int64_t ldx, int64_t m,
            float* y, int64_t ldy);

// y[m][ld] = silu(gate) * up, of a Linear whose first half of outputs is gate and the second up.
// Returns ld: out / 2, or out where there are few rows; y has room for [m][out] in any case. The
// bits are those of MatMul and SwiGlu. Collective.
//
// With many rows a member computes the same columns of gate and up and activates them while they
// are in its cache: 4 bytes of y for a pair go to memory instead of 8, and none comes back.
int64_t MatMulSwiGlu(OpContext& context, const Linear& linear, const float* x, int64_t ldx,
                     int64_t m, float* y);

}  // namespace inhouse::engine
