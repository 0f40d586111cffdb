// y = W x for one stored weight format: the contract between the packers, the micro-kernels and
// ops/.
//
// Weights are cut into panels of `panel_rows` output rows. A panel is packed once at load into the
// order in which `run` reads it: one sequential stream per thread, scales inside the stream
// (performance.md 5). `x` is packed once per product into strips of `strip_rows` activation rows.
// Everything here is a pure function on memory: no allocation, no threads.
//
// Determinism: element y[m][n] is computed by the same operations in the same order whatever M, the
// strip, or the other rows are: one accumulation chain along k per element. So a token's result
// does not depend on who else is in the batch, and prefill, chunked prefill and decode agree bit
// for bit at one ISA level.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace inhouse::engine {

// How `x` is laid out and rounded. Products whose activations have the same layout can share one
// packed x.
enum class ActivationLayout : uint8_t {
  kF32,           // as it is
  kBF16Pairs,     // rounded to BF16 once
  kI16Groups32,   // per 32 elements: 16-bit codes as two int8 planes, a float scale and their sums
  kI16Groups128,  // the same per 128 elements
  kI8Groups32,    // per 32 elements: int8 codes, a float scale and their sums
  kI8Groups128,   // the same per 128 elements
};

// How finely the activations of a product over integer codes are rounded; other products do not
// care. A level that has no kernel with 8 bits for a type takes the one with 16.
enum class ActivationBits : uint8_t { k16, k8 };

// One packed panel product: y[m][n] = sum_k w[n][k] x[m][k] for n in the panel.
struct PanelProduct {
  const std::byte* panel;  // from pack_panel
  const std::byte* x;      // from pack_x, strip 0
  int64_t m;               // activation rows, >= 1
  int64_t k;               // columns, as stored (tails are handled inside)
  int n_rows;              // valid rows of the panel, 1..panel_rows
  float* y;     // [m][ldy], the panel's first column; exactly n_rows floats of each row are written
  int64_t ldy;  // floats between rows of y
  std::byte* scratch;  // scratch_bytes(k) of this thread, 64-byte aligned; may be null if that is 0
};

// A weight format at one ISA level. All members are set.
struct MatMulKernel {
  const char* name;  // "avx512_bf16"
  DType weights;
  ActivationLayout activations;
  int panel_rows;
  int strip_rows;

  int64_t (*panel_bytes)(int64_t k);  // a multiple of 64
  // `rows[i]` points to the stored row i of the panel (RowBytes(weights, k) bytes), i < n_rows <=
  // panel_rows; missing rows are packed as zeros.
  void (*pack_panel)(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel);

  int64_t (*strip_bytes)(int64_t k);  // from one packed strip to the next, a multiple of 64
  // Packs the activation rows [m0, m1) of x[m][ldx] into strip m0 / strip_rows; m0 is a multiple of
  // strip_rows and m1 <= m0 + strip_rows. `m` is the number of rows of the whole product: for codes
  // of weights (kI16Groups) it may decide how the strip is laid out; strips of the float layouts
  // may be packed one by one. Products of more than 96 rows are laid out alike: `run` may get
  // some of their strips, if those are more than 96 rows again.
  void (*pack_strip)(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                     std::byte* packed_x);

  int64_t (*scratch_bytes)(int64_t k);
  void (*run)(const PanelProduct& product);
};

}  // namespace inhouse::engine
