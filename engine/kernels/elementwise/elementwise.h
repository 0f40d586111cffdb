// Row-wise float operations between the products. Pure functions; rows are contiguous.
#pragma once

#include <cstdint>

namespace inhouse::engine {

struct ElementwiseKernels {
  const char* name;

  // y[i] = w[i] * x[i] / sqrt(mean(x^2) + eps). y may be x.
  void (*rms_norm)(const float* x, const float* w, int64_t n, float eps, float* y);

  // Rotates one head in place; cos_sin has rotary_dim/2 cosines, then as many sines. Half-split
  // pairs (i, i + rotary_dim/2).
  void (*rope_half)(float* x, const float* cos_sin, int64_t rotary_dim);
  // The same with adjacent pairs (2i, 2i + 1).
  void (*rope_interleaved)(float* x, const float* cos_sin, int64_t rotary_dim);

  // y[i] = silu(gate[i]) * up[i], silu(z) = z / (1 + exp(-z)). y may be gate or up.
  void (*silu_mul)(const float* gate, const float* up, int64_t n, float* y);

  void (*add)(float* y, const float* x, int64_t n);            // y += x
  void (*scale)(float* y, float factor, int64_t n);            // y *= factor
  void (*axpy)(float* y, float a, const float* x, int64_t n);  // y += a x

  // NaN is skipped by both. The largest value, -inf if there is none.
  float (*max)(const float* x, int64_t n);
  // The lowest index of the largest value; -1 if there is none (n = 0, or every element is NaN).
  int64_t (*argmax)(const float* x, int64_t n);
  // x[i] = exp(x[i] - max); returns the sum. Relative error of each element at most 1e-6 (below
  // 2^-126 the spacing of subnormals). An element of -inf becomes 0, also if `max` is -inf; NaN
  // stays NaN and makes the sum NaN.
  float (*exp_sum)(float* x, int64_t n, float max);
};

}  // namespace inhouse::engine
