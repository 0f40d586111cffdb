// The element-wise operations in vectors of V (vector_avx2.h, vector_avx512.h): one source for
// every level. An element's value never depends on its place: tails run through the same
// instructions with lanes masked off. Reductions add in an order that depends on n alone.
#pragma once

#include <cstdint>
#include <limits>

#include "engine/kernels/elementwise/elementwise.h"

namespace inhouse::engine {

template <typename V>
struct FastElementwise {
  using Reg = typename V::Reg;
  static constexpr int64_t kLanes = V::kLanes;
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

  // Not std::min: an instantiation of it here could be linked into code for other CPUs.
  static int64_t Smaller(int64_t a, int64_t b) { return a < b ? a : b; }

  // y[i] = f(a[i], b[i]) in whole vectors, then one masked vector.
  template <typename F>
  static void Map(const float* a, const float* b, int64_t n, float* y, F f) {
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) V::Store(y + i, f(V::Load(a + i), V::Load(b + i)));
    if (i < n) V::StoreN(y + i, f(V::LoadN(a + i, n - i), V::LoadN(b + i, n - i)), n - i);
  }

  static float SumOfSquares(const float* x, int64_t n) {
    Reg sums[4] = {V::Set(0), V::Set(0), V::Set(0), V::Set(0)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
      for (int64_t j = 0; j < 4; ++j) {
        const Reg v = V::Load(x + i + j * kLanes);
        sums[j] = V::Fma(v, v, sums[j]);
      }
    }
    for (; i < n; i += kLanes) {
      const Reg v = V::LoadN(x + i, Smaller(kLanes, n - i));
      sums[0] = V::Fma(v, v, sums[0]);
    }
    return V::ReduceAdd(V::Add(V::Add(sums[0], sums[1]), V::Add(sums[2], sums[3])));
  }

  static void RmsNorm(const float* x, const float* w, int64_t n, float eps, float* y) {
    const double mean = double{SumOfSquares(x, n)} / static_cast<double>(n);
    const Reg factor = V::Set(static_cast<float>(1.0 / __builtin_sqrt(mean + double{eps})));
    Map(x, w, n, y, [factor](Reg a, Reg b) { return V::Mul(b, V::Mul(a, factor)); });
  }

  static void RopeHalf(float* x, const float* cos_sin, int64_t rotary_dim) {
    const int64_t half = rotary_dim / 2;
    for (int64_t i = 0; i < half; i += kLanes) {
      const int64_t n = Smaller(kLanes, half - i);
      const Reg a = V::LoadN(x + i, n);
      const Reg b = V::LoadN(x + half + i, n);
      const Reg cos = V::LoadN(cos_sin + i, n);
      const Reg sin = V::LoadN(cos_sin + half + i, n);
      V::StoreN(x + i, V::FmSub(a, cos, V::Mul(b, sin)), n);
      V::StoreN(x + half + i, V::Fma(b, cos, V::Mul(a, sin)), n);
    }
  }

  static void RopeInterleaved(float* x, const float* cos_sin, int64_t rotary_dim) {
    const int64_t half = rotary_dim / 2;
    int64_t i = 0;
    for (; 2 * i + kLanes <= 2 * half; i += kLanes / 2) {
      const Reg v = V::Load(x + 2 * i);
      const Reg sin = V::Mul(V::SwapPairs(v), V::LoadTwice(cos_sin + half + i));
      V::Store(x + 2 * i, V::FmAddSub(v, V::LoadTwice(cos_sin + i), sin));
    }
    for (; i < half; ++i) {  // the same roundings, one pair at a time
      const float a = x[2 * i];
      const float b = x[2 * i + 1];
      x[2 * i] = __builtin_fmaf(a, cos_sin[i], -(b * cos_sin[half + i]));
      x[2 * i + 1] = __builtin_fmaf(b, cos_sin[i], a * cos_sin[half + i]);
    }
  }

  static void SiluMul(const float* gate, const float* up, int64_t n, float* y) {
    const Reg one = V::Set(1.0F);
    const Reg minus_zero = V::Set(-0.0F);
    Map(gate, up, n, y, [one, minus_zero](Reg z, Reg u) {
      return V::Mul(V::Div(z, V::Add(one, V::Exp(V::Sub(minus_zero, z)))), u);
    });
  }

  static void Add(float* y, const float* x, int64_t n) {
    Map(y, x, n, y, [](Reg a, Reg b) { return V::Add(a, b); });
  }

  static void Scale(float* y, float factor, int64_t n) {
    const Reg f = V::Set(factor);
    Map(y, y, n, y, [f](Reg a, Reg) { return V::Mul(a, f); });
  }

  static void Axpy(float* y, float a, const float* x, int64_t n) {
    const Reg f = V::Set(a);
    Map(y, x, n, y, [f](Reg b, Reg c) { return V::Fma(f, c, b); });
  }

  static float Max(const float* x, int64_t n) {
    Reg max[4] = {V::Set(kMinusInfinity), V::Set(kMinusInfinity), V::Set(kMinusInfinity),
                  V::Set(kMinusInfinity)};
    int64_t i = 0;
    for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
      for (int64_t j = 0; j < 4; ++j) max[j] = V::Max(V::Load(x + i + j * kLanes), max[j]);
    }
    for (; i < n; i += kLanes) {
      const int64_t m = Smaller(kLanes, n - i);
      max[0] = V::Max(V::KeepFirst(V::LoadN(x + i, m), m, kMinusInfinity), max[0]);
    }
    return V::ReduceMax(V::Max(V::Max(max[0], max[1]), V::Max(max[2], max[3])));
  }

  // Two passes (the second ends at the find) beat carrying indices along.
  static int64_t ArgMax(const float* x, int64_t n) {
    const Reg max = V::Set(Max(x, n));
    int64_t i = 0;
    for (; i + kLanes <= n; i += kLanes) {
      const uint32_t equal = V::EqualLanes(V::Load(x + i), max);
      if (equal != 0) return i + __builtin_ctz(equal);
    }
    if (i < n) {
      const uint32_t equal = V::EqualLanes(V::LoadN(x + i, n - i), max) & ((1U << (n - i)) - 1);
      if (equal != 0) return i + __builtin_ctz(equal);
    }
    return -1;
  }

  static float ExpSum(float* x, int64_t n, float max) {
    const Reg base = V::Set(max == kMinusInfinity ? 0.0F : max);
    // Blocks are short enough that float sums in their lanes lose nothing that matters.
    constexpr int64_t kBlock = 1024;
    double total = 0;
    for (int64_t begin = 0; begin < n; begin += kBlock) {
      const int64_t end = Smaller(n, begin + kBlock);
      Reg sum = V::Set(0);
      int64_t i = begin;
      for (; i + kLanes <= end; i += kLanes) {
        const Reg e = V::Exp(V::Sub(V::Load(x + i), base));
        V::Store(x + i, e);
        sum = V::Add(sum, e);
      }
      if (i < end) {
        const Reg e = V::Exp(V::Sub(V::LoadN(x + i, end - i), base));
        V::StoreN(x + i, e, end - i);
        sum = V::Add(sum, V::KeepFirst(e, end - i, 0.0F));
      }
      total += double{V::ReduceAdd(sum)};
    }
    return static_cast<float>(total);
  }

  static constexpr ElementwiseKernels kTable = {
      V::kName, RmsNorm, RopeHalf, RopeInterleaved, SiluMul, Add, Scale, Axpy, Max, ArgMax, ExpSum};
};

}  // namespace inhouse::engine
