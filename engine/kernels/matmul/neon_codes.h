// How a panel holds the integer codes of 32 columns of its rows, and how registers see them.
//
// The codes are cut into eight units of eight vectors of 16 codes. An order says which row and
// column is where: each arithmetic has its own. Codes of fewer than eight bits lie in planes: a
// byte of a plane holds bits of the same lane of successive vectors, so that a shift and a mask
// (or a shift alone) give a vector.
#pragma once

#include "engine/kernels/matmul/neon_vector.h"

namespace inhouse::engine::neon {
namespace {

constexpr int kUnits = 8;
constexpr int kUnitVectors = 8;

struct Place {
  int unit, vector, byte;
};

// Column after column of 16 rows: floats.
struct FloatOrder {
  static constexpr Place Of(int row, int column) {
    return {row / 16 * 4 + column / 8, column % 8, row % 16};
  }
};
// Four rows of four columns: SDOT adds the products of four columns to each of four rows.
struct DotOrder {
  static constexpr Place Of(int row, int column) {
    return {row / 4, column / 4, row % 4 * 4 + column % 4};
  }
};
// Two rows of eight columns: SMMLA multiplies them with two rows of x.
struct MatrixOrder {
  static constexpr Place Of(int row, int column) {
    return {row / 4, column / 8 * 2 + row % 4 / 2, row % 2 * 8 + column % 8};
  }
};

// Codes of kBits bits in the vectors of a unit; Get puts them at bit kAt.
template <int kBits, int kAt>
struct Plane {
  static constexpr int kVectors = 8 / kBits;  // that share bytes
  static constexpr int kBytes = kUnitVectors / kVectors * 16;

  static void Put(std::byte* plane, int vector, int byte, uint32_t code) {
    plane[vector / kVectors * 16 + byte] |=
        static_cast<std::byte>((code & ((1U << kBits) - 1)) << (vector % kVectors * kBits));
  }
  template <int kVector>
  static INHOUSE_INLINE uint8x16_t Get(const std::byte* plane, Int<kVector> /*vector*/) {
    constexpr int kBit = kVector % kVectors * kBits;
    uint8x16_t v = LoadBytes(plane + kVector / kVectors * 16);
    if constexpr (kBit > kAt) v = vshrq_n_u8(v, kBit - kAt);
    if constexpr (kBit < kAt) v = vshlq_n_u8(v, kAt - kBit);
    constexpr bool kAlone = (kBit + kBits == 8 && kAt == 0) || (kBit == 0 && kAt + kBits == 8);
    if constexpr (!kAlone) v = vandq_u8(v, vdupq_n_u8(((1 << kBits) - 1) << kAt));
    return v;
  }
};

// Each kind of codes: bytes of a unit, Put into a zeroed unit, and Get as signed numbers.

struct ByteCodes {
  static constexpr int kUnitBytes = kUnitVectors * 16;
  static void Put(std::byte* unit, int vector, int byte, uint32_t code) {
    unit[vector * 16 + byte] = static_cast<std::byte>(code);
  }
  template <int kVector>
  static INHOUSE_INLINE int8x16_t Get(const std::byte* unit, Int<kVector> vector) {
    return vreinterpretq_s8_u8(LoadBytes(unit + vector * 16));
  }
};

struct NibbleCodes {  // 0..15
  using Nibbles = Plane<4, 0>;
  static constexpr int kUnitBytes = Nibbles::kBytes;
  static void Put(std::byte* unit, int vector, int byte, uint32_t code) {
    Nibbles::Put(unit, vector, byte, code);
  }
  template <int kVector>
  static INHOUSE_INLINE int8x16_t Get(const std::byte* unit, Int<kVector> vector) {
    return vreinterpretq_s8_u8(Nibbles::Get(unit, vector));
  }
};

// code - 8, kept in two's complement: the sign comes with the shift.
struct SignedNibbleCodes {
  using Nibbles = Plane<4, 4>;
  static constexpr int kUnitBytes = Nibbles::kBytes;
  static void Put(std::byte* unit, int vector, int byte, uint32_t code) {
    Nibbles::Put(unit, vector, byte, code ^ 8U);
  }
  template <int kVector>
  static INHOUSE_INLINE int8x16_t Get(const std::byte* unit, Int<kVector> /*vector*/) {
    const int8x16_t both = vreinterpretq_s8_u8(LoadBytes(unit + kVector / 2 * 16));
    return vshrq_n_s8(kVector % 2 == 0 ? vshlq_n_s8(both, 4) : both, 4);
  }
};

// Four low bits, then kHigh bits above them; kOffset is taken off.
template <int kHigh, int kOffset>
struct TwoPlaneCodes {
  using Low = Plane<4, 0>;
  using High = Plane<kHigh, 4>;
  static constexpr int kUnitBytes = Low::kBytes + High::kBytes;
  static void Put(std::byte* unit, int vector, int byte, uint32_t code) {
    Low::Put(unit, vector, byte, code);
    High::Put(unit + Low::kBytes, vector, byte, code >> 4);
  }
  template <int kVector>
  static INHOUSE_INLINE int8x16_t Get(const std::byte* unit, Int<kVector> vector) {
    const uint8x16_t both = vorrq_u8(Low::Get(unit, vector), High::Get(unit + Low::kBytes, vector));
    const int8x16_t code = vreinterpretq_s8_u8(both);
    return kOffset == 0 ? code : vsubq_s8(code, vdupq_n_s8(kOffset));
  }
};

// E2M1 nibbles as twice their values.
struct E2M1Codes : NibbleCodes {
  template <int kVector>
  static INHOUSE_INLINE int8x16_t Get(const std::byte* unit, Int<kVector> vector) {
    const int8x16_t values = {0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12};
    return vqtbl1q_s8(values, Nibbles::Get(unit, vector));
  }
};

}  // namespace
}  // namespace inhouse::engine::neon
