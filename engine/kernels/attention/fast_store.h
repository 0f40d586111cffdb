// Writing a token's key and value into a page, in vectors of V: one source for every fast level and
// type of pages (fast.h reads them).
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/elementwise/stored_types.h"

namespace inhouse::engine {

template <typename V, typename Stored, DType kDType>
struct FastKvStore {
  static constexpr int kLanes = V::kLanes;
  // A block begins with the scales of its tokens.
  static constexpr bool kScaled = kDType == DType::kF8E4M3;
  static constexpr int64_t kScaleBytes = kScaled ? kPageTokens * int64_t{sizeof(float)} : 0;

  // What lies beyond F16's largest number is stored as that: attention with one number that is too
  // small is better than none, and infinities would spread to every token behind. An infinity stays
  // one.
  static void KeepFinite(const float* values, int64_t n, uint16_t* codes) {
    for (int64_t i = 0; i < n; ++i) {
      const bool infinite = __builtin_isinf(values[i]);
      if ((codes[i] & 0x7FFFU) == 0x7C00U && !infinite) --codes[i];
    }
  }

  static void StoreToken(const float* key, const float* value, int head_dim, int slot, std::byte* k,
                         std::byte* v) {
    auto* keys = reinterpret_cast<Stored*>(k) + slot;
    auto* values = reinterpret_cast<Stored*>(v) + int64_t{slot} * head_dim;
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const int64_t n = head_dim - d < kLanes ? head_dim - d : kLanes;
      Stored lanes[size_t{V::kLanes}];
      V::Store(lanes, V::LoadN(key + d, n));
      if constexpr (kDType == DType::kF16) KeepFinite(key + d, n, lanes);
      for (int64_t j = 0; j < n; ++j) keys[(d + j) * kPageTokens] = lanes[j];
      V::StoreN(values + d, V::LoadN(value + d, n), n);
      if constexpr (kDType == DType::kF16) KeepFinite(value + d, n, values + d);
    }
  }

  // Scales one token's row to less than 256 by a power of two and rounds it to E4M3; code i goes to
  // codes[i * stride]. As in ref.cc.
  static void StoreScaled(const float* row, int64_t n, int64_t stride, float* scale, E4M3* codes) {
    uint32_t largest = 0;
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t magnitude = __builtin_bit_cast(uint32_t, row[i]) & 0x7FFFFFFFU;
      largest = magnitude > largest ? magnitude : largest;
    }
    const uint32_t exponent = largest >> 23 < 8 ? 8 : largest >> 23;
    if (exponent == 0xFF) {  // infinity or NaN: nothing finite comes of this token
      *scale = __builtin_nanf("");
      for (int64_t i = 0; i < n; ++i) codes[i * stride].bits = 0;
      return;
    }
    *scale = __builtin_bit_cast(float, (exponent - 7) << 23);
    const float inverse = __builtin_bit_cast(float, (261 - exponent) << 23);
    for (int64_t i = 0; i < n; ++i) {
      const uint32_t bits = __builtin_bit_cast(uint32_t, row[i] * inverse);
      const uint32_t magnitude = bits & 0x7FFFFFFFU;
      const uint32_t normal = ((magnitude + 0x7FFFFU + (magnitude >> 20 & 1U)) >> 20) - 960;
      // Adding 2^14 aligns the last bit of a subnormal with the last bit of float.
      const float aligned = __builtin_bit_cast(float, magnitude) + 0x1p14F;
      const uint32_t subnormal = __builtin_bit_cast(uint32_t, aligned) - 0x46800000U;
      const uint32_t code = magnitude < 0x3C800000U ? subnormal : normal;
      codes[i * stride].bits = static_cast<uint8_t>((bits >> 24 & 0x80U) | code);
    }
  }

  static void StoreScaledToken(const float* key, const float* value, int head_dim, int slot,
                               std::byte* k, std::byte* v) {
    StoreScaled(key, head_dim, kPageTokens, reinterpret_cast<float*>(k) + slot,
                reinterpret_cast<E4M3*>(k + kScaleBytes) + slot);
    StoreScaled(value, head_dim, 1, reinterpret_cast<float*>(v) + slot,
                reinterpret_cast<E4M3*>(v + kScaleBytes) + int64_t{slot} * head_dim);
  }

  // AttentionKernel::store.
  static constexpr auto Function() {
    if constexpr (kScaled) {
      return StoreScaledToken;
    } else {
      return StoreToken;
    }
  }
};

}  // namespace inhouse::engine
