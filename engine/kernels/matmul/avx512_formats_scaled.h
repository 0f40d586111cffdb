// Panel formats of the rows that are assembled from codes and scales kept apart (tensor/dtype.h):
// INT8 and INT4 in groups of 128 or 32 columns, float32 scales and minima of 32 rows, then codes.
#pragma once

#include "engine/kernels/matmul/avx512_formats.h"

namespace inhouse::engine {
namespace {

INHOUSE_INLINE void Put32(const std::byte* from, int row, std::byte* to) {
  __builtin_memcpy(to + 4 * row, from, 4);
}

template <int kGroups, bool kHasMin, int kCodeBytes>
struct ScaledBlock {
  static constexpr int kFieldBytes = kHasMin ? 8 : 4;
  static constexpr int kSourceBytes = kFieldBytes + kGroups * kCodeBytes;
  static constexpr int kCodesAt = 32 * kFieldBytes;
  static constexpr int kBlockBytes = 32 * kSourceBytes;
  static constexpr int kBlockGroups = kGroups;
  static constexpr int kUnitGroups = kGroups;
  static constexpr int kHalves = 1;
  static constexpr bool kMin = kHasMin;

  static INHOUSE_INLINE void UnitScales(const std::byte* p, int /*half*/, __m512 (&scale)[2],
                                        __m512 (&min)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      scale[i] = _mm512_loadu_ps(p + 64 * i);
      if constexpr (kHasMin) min[i] = _mm512_loadu_ps(p + 128 + 64 * i);
    });
  }
  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int half, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    UnitScales(p, half, scale, min);
  }
  static void PackFields(const std::byte* source, int row, std::byte* p) {
    Put32(source, row, p);
    if constexpr (kHasMin) Put32(source + 4, row, p + 128);
  }
};

// Used as it is by any number of rows. Codes are stored + 128.
template <int kGroups>
struct FormatI8 : ScaledBlock<kGroups, false, 32> {
  using Base = ScaledBlock<kGroups, false, 32>;
  static constexpr int kOffset = 128;
  static constexpr bool kUsedInPlace = true;
  static constexpr int kUnitBytes = Base::kBlockBytes;
  using Tile = FormatI8;

  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + Base::kCodesAt + 1024 * g + 128 * q;
    w[0] = Load(codes);
    w[1] = Load(codes + 64);
    w[2] = Load(codes + 512);
    w[3] = Load(codes + 576);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Base::PackFields(source, row, p);
    for (int i = 0; i < 8 * kGroups; ++i) {
      uint32_t word = 0;
      __builtin_memcpy(&word, source + Base::kFieldBytes + 4 * i, 4);
      word ^= 0x80808080U;
      __builtin_memcpy(p + Base::kCodesAt + 128 * i + 4 * row, &word, 4);
    }
  }
};

template <int kGroups, bool kHasMin>
struct FormatI4 : ScaledBlock<kGroups, kHasMin, 16> {
  using Base = ScaledBlock<kGroups, kHasMin, 16>;
  static constexpr int kOffset = 8;
  static constexpr bool kUsedInPlace = false;
  using Tile = Expanded<1, kHasMin, kGroups>;

  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    Nibbles(p + Base::kCodesAt + kNibbleBytes * g, q, w);
  }
  static void Pack(const std::byte* source, int row, std::byte* p) {
    Base::PackFields(source, row, p);
    // The row's bytes pair columns j and 16 + j of a group, as the panel does.
    for (int i = 0; i < 4 * kGroups; ++i) {
      __builtin_memcpy(p + Base::kCodesAt + 128 * i + 4 * row, source + Base::kFieldBytes + 4 * i,
                       4);
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
