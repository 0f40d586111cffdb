// Element-wise operations in plain C++: the judge of the fast levels.
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/kernels/elementwise/elementwise_kernels.h"

namespace inhouse::engine {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

void RmsNorm(const float* x, const float* w, int64_t n, float eps, float* y) {
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += double{x[i]} * double{x[i]};
  const auto factor =
      static_cast<float>(1.0 / std::sqrt(sum / static_cast<double>(n) + double{eps}));
  for (int64_t i = 0; i < n; ++i) y[i] = w[i] * (x[i] * factor);
}

void Rotate(float* a, float* b, float cos, float sin) {
  const float x = *a;
  const float y = *b;
  *a = x * cos - y * sin;
  *b = y * cos + x * sin;
}

void RopeHalf(float* x, const float* cos_sin, int64_t rotary_dim) {
  const int64_t half = rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) Rotate(x + i, x + half + i, cos_sin[i], cos_sin[half + i]);
}

void RopeInterleaved(float* x, const float* cos_sin, int64_t rotary_dim) {
  const int64_t half = rotary_dim / 2;
  for (int64_t i = 0; i < half; ++i) {
    Rotate(x + 2 * i, x + 2 * i + 1, cos_sin[i], cos_sin[half + i]);
  }
}

void SiluMul(const float* gate, const float* up, int64_t n, float* y) {
  for (int64_t i = 0; i < n; ++i) y[i] = gate[i] / (1.0F + std::exp(-gate[i])) * up[i];
}

void Add(float* y, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += x[i];
}

void Scale(float* y, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] *= factor;
}

void Axpy(float* y, float a, const float* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += a * x[i];
}

float Max(const float* x, int64_t n) {
  float max = kMinusInfinity;
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] > max) max = x[i];
  }
  return max;
}

int64_t ArgMax(const float* x, int64_t n) {
  const float max = Max(x, n);
  for (int64_t i = 0; i < n; ++i) {
    if (x[i] == max) return i;
  }
  return -1;
}

float ExpSum(float* x, int64_t n, float max) {
  const float base = max == kMinusInfinity ? 0.0F : max;
  double sum = 0;
  for (int64_t i = 0; i < n; ++i) {
    x[i] = std::exp(x[i] - base);
    sum += double{x[i]};
  }
  return static_cast<float>(sum);
}

}  // namespace

const ElementwiseKernels kElementwiseRef = {"ref", RmsNorm, RopeHalf, RopeInterleaved, SiluMul, Add,
                                            Scale, Axpy,    Max,      ArgMax,          ExpSum};

}  // namespace inhouse::engine
