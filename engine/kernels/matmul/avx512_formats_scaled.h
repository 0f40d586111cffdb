// Panel formats of the rows that are assembled from codes and scales kept apart (tensor/dtype.h):
// INT8 and INT4 in groups of 128 or 32 columns, float32 scales and minima of 32 rows, then codes.
#pragma once

#include "engine/kernels/matmul/avx512_formats.h"

namespace inhouse::engine {
namespace {

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

  static INHOUSE_INLINE void Scales(const std::byte* p, int /*g*/, int /*half*/, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      scale[i] = _mm512_loadu_ps(p + 64 * i);
      if constexpr (kHasMin) min[i] = _mm512_loadu_ps(p + 128 + 64 * i);
    });
  }
  static INHOUSE_INLINE void PackField(const BlockRows& rows, int at, std::byte* p) {
    __m512i v[2];
    LoadWord(rows, at, v);
    Put(p, v[0]);
    Put(p + 64, v[1]);
  }
  static INHOUSE_INLINE void PackFields(const BlockRows& rows, std::byte* p) {
    PackField(rows, 0, p);
    if constexpr (kHasMin) PackField(rows, 4, p + 128);
  }
};

// Used as it is by any number of rows. Codes are stored + 128.
template <int kGroups>
struct FormatI8 : ScaledBlock<kGroups, false, 32> {
  using Base = ScaledBlock<kGroups, false, 32>;
  static constexpr int kOffset = 128;
  static constexpr int64_t kExpandFrom = kNever;

  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    const std::byte* codes = p + Base::kCodesAt + 1024 * g + 128 * q;
    w[0] = Load(codes);
    w[1] = Load(codes + 64);
    w[2] = Load(codes + 512);
    w[3] = Load(codes + 576);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    Base::PackFields(rows, p);
    for (int g = 0; g < kGroups; ++g) {
      PutSignedWords(rows, Base::kFieldBytes + 32 * g, p + Base::kCodesAt + 1024 * g);
    }
  }
};

template <int kGroups, bool kHasMin>
struct FormatI4 : ScaledBlock<kGroups, kHasMin, 16> {
  using Base = ScaledBlock<kGroups, kHasMin, 16>;
  static constexpr int kOffset = 8;
  static constexpr int64_t kExpandFrom = 64;

  static INHOUSE_INLINE void Codes(const std::byte* p, int g, int q, __m512i (&w)[4]) {
    Nibbles(p + Base::kCodesAt + kNibbleBytes * g, q, w);
  }
  static INHOUSE_INLINE void PackBlock(const BlockRows& rows, std::byte* p) {
    Base::PackFields(rows, p);
    // The row's bytes pair columns j and 16 + j of a group, as the panel does.
    for (int g = 0; g < kGroups; ++g) {
      __m512i v[8];
      LoadWords4(rows, Base::kFieldBytes + 16 * g, v);
      PutNibbleWords(v, p + Base::kCodesAt + kNibbleBytes * g);
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
