// Stored rows and activations made at random, for the tests of the products.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <random>
#include <vector>

#include "engine/tensor/dtype.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {

// Byte offsets of the F16 fields of a block: random bytes there could be infinite.
inline std::vector<int> HalfFields(DType type) {
  switch (type) {
    case DType::kQ8_0:
    case DType::kQ4_0:
    case DType::kQ5_0:
      return {0};
    case DType::kQ4_1:
    case DType::kQ5_1:
    case DType::kQ4_K:
    case DType::kQ5_K:
      return {0, 2};
    case DType::kQ2_K:
      return {80, 82};
    case DType::kQ3_K:
      return {108};
    case DType::kQ6_K:
      return {208};
    default:
      return {};
  }
}

// Byte offsets of the float32 fields of a block.
inline std::vector<int> FloatFields(DType type) {
  switch (type) {
    case DType::kF8Group128:
    case DType::kF8Group32:
    case DType::kI8Group128:
    case DType::kI8Group32:
    case DType::kI4Group128:
    case DType::kI4Group32:
      return {0};
    case DType::kI4MinGroup128:
    case DType::kI4MinGroup32:
      return {0, 4};
    default:
      return {};
  }
}

inline bool IsFp8Group(DType type) {
  return type == DType::kF8Group128 || type == DType::kF8Group32;
}

// The codes behind the end of a row that ends inside its last block are zero.
inline void ZeroBehindEnd(DType type, int64_t k, std::byte* row) {
  const int64_t block = Info(type).block_elements;
  if (k % block == 0) return;
  const int64_t header = static_cast<int64_t>(FloatFields(type).size()) * 4;
  std::byte* codes = row + k / block * Info(type).block_bytes + header;
  const bool nibbles = Info(type).block_bytes - header < block;
  for (int64_t column = k % block; column < block; ++column) {
    if (nibbles) {
      codes[column / 32 * 16 + column % 16] &= std::byte(column % 32 < 16 ? 0xF0 : 0x0F);
    } else {
      codes[column] = std::byte{0};
    }
  }
}

// Rows whose codes are random and whose scales are normal with deviation `size`.
inline std::vector<std::byte> RandomWeights(DType type, int64_t rows, int64_t k, float size,
                                            std::mt19937& rng) {
  std::vector<std::byte> bytes(static_cast<size_t>(rows * RowBytes(type, k)));
  std::normal_distribution<float> normal(0.0F, size);
  const auto put = [&bytes](size_t at, const auto& value) {
    std::memcpy(bytes.data() + at, &value, sizeof(value));
  };
  const auto block = static_cast<size_t>(Info(type).block_bytes);
  for (size_t at = 0; at < bytes.size(); at += block) {
    for (size_t i = 0; i < block; ++i) bytes[at + i] = static_cast<std::byte>(rng());
    for (const int field : HalfFields(type)) {
      put(at + static_cast<size_t>(field), ToF16(normal(rng)));
    }
    if (IsFp8Group(type)) {
      for (size_t i = 4; i < block; ++i) bytes[at + i] &= std::byte{0xF7};  // no NaN
    }
    for (const int field : FloatFields(type)) put(at + static_cast<size_t>(field), normal(rng));
    if (type == DType::kF32) put(at, normal(rng));
    if (type == DType::kF64) put(at, double{normal(rng)});
    if (type == DType::kF16) put(at, ToF16(normal(rng)));
    if (type == DType::kBF16) put(at, ToBF16(normal(rng)));
    if (type == DType::kMXFP4 || type == DType::kF8E8M0) {
      bytes[at] = static_cast<std::byte>(118 + rng() % 9);
    }
    if (type == DType::kF8E4M3) bytes[at] &= std::byte{0xF7};  // no NaN
    if (type == DType::kF8E5M2) bytes[at] &= std::byte{0xBF};  // neither NaN nor infinity
  }
  for (int64_t row = 0; row < rows; ++row) {
    ZeroBehindEnd(type, k, bytes.data() + row * RowBytes(type, k));
  }
  return bytes;
}

inline std::vector<float> RandomActivations(int64_t n, float size, std::mt19937& rng) {
  std::normal_distribution<float> normal(0.0F, size);
  std::vector<float> x(static_cast<size_t>(n));
  for (float& value : x) value = normal(rng);
  return x;
}

}  // namespace inhouse::engine
