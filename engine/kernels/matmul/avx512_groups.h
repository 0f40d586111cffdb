// Products whose accumulators are integers: GGUF blocks and MXFP4 at the VNNI levels.
//
// A format F describes a panel block of F::kBlockGroups groups of 32 columns x 32 rows:
//   kOffset     codes are stored unsigned, value = code - kOffset (a power of two), or
//   kMin        value = scale * code + min, with no offset
//   kHalves     1: one scale per group, 2: one per 16 columns
//   Scales(block, g, half, scale, min)   16 + 16 rows
//   Codes(block, g, q, w)                words q and q + 4 of x, each 16 + 16 rows
//
// Inside a group sums are exact in int32 (32 * 255 * 32512 < 2^31); each flush is one float FMA in
// the order of the columns. So few rows (codes expanded in registers) and many (expanded once into
// scratch) give the same bits.
#pragma once

#include "engine/kernels/matmul/avx512_strips.h"
#include "engine/kernels/matmul/avx512_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {
namespace {

INHOUSE_INLINE __m512i DotBytes(__m512i acc, __m512i u8, __m512i s8) {
#if defined(INHOUSE_EMULATED_ISA)
  return _mm512_dpbusd_epi32(acc, u8, s8);
#else
  // Not the intrinsic: GCC 12 copies the accumulator around it and spills the tile.
  asm("vpdpbusd %2, %1, %0" : "+v"(acc) : "v"(u8), "v"(s8));
  return acc;
#endif
}

struct GroupTile {
  const std::byte* w;
  int64_t groups;
  const uint32_t* x;  // of the strip's first group, plus the tile's first row
  int64_t stride;     // rows of the strip
  float* y;
  int64_t ldy;
  RowMask mask;
  bool first;                 // start from zero, else from y
  const std::byte* prefetch;  // the packed block that is needed next, or null
};

// What a flush adds: sum * scale_w * scale_x, and for formats with a minimum min * sum(x).
template <bool kMin, int kRows>
INHOUSE_INLINE void Flush(const __m512i (&sum)[2], const __m512 (&scale)[2], const __m512 (&min)[2],
                          __m512 x_scale, __m512 x_sum, int m, Accumulators<kRows>& total) {
  Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
    __m512& t = total.v[2 * m + i];
    t = _mm512_fmadd_ps(_mm512_cvtepi32_ps(sum[i]), _mm512_mul_ps(scale[i], x_scale), t);
    if constexpr (kMin) t = _mm512_fmadd_ps(min[i], x_sum, t);
  });
}

// -128 * (sum of the codes) of a group or of one of its halves.
template <typename F>
INHOUSE_INLINE __m512i SumOfCodes(const uint32_t* x, int64_t stride, int half) {
  const __m512i all = Broadcast(x + kWordOffset * stride);
  if constexpr (F::kHalves == 1) return all;
  const __m512i first = Broadcast(x + kWordHalf * stride);
  return half == 0 ? first : _mm512_sub_epi32(all, first);
}

// What the offset of the stored codes added to a sum, negative.
template <typename F>
INHOUSE_INLINE __m512i OffsetCorrection(const uint32_t* x, int64_t stride, int half) {
  constexpr int kShift = __builtin_ctz(128 / F::kOffset);
  return _mm512_srai_epi32(SumOfCodes<F>(x, stride, half), kShift);
}

// For formats with a minimum: the sum of x.
template <typename F>
INHOUSE_INLINE __m512 SumOfX(const uint32_t* x, int64_t stride, int half, __m512 x_scale) {
  if constexpr (!F::kMin) return x_scale;  // not used
  if constexpr (F::kHalves == 1) return BroadcastFloat(x + kWordSum * stride);
  const __m512 codes =
      _mm512_mul_ps(_mm512_cvtepi32_ps(SumOfCodes<F>(x, stride, half)), _mm512_set1_ps(-0x1p-7F));
  return _mm512_mul_ps(codes, x_scale);
}

// Few rows: one pass over the panel, codes expanded in registers, both planes at once.
template <typename F, int kRows>
void RunDirect(const GroupTile& t) {
  constexpr int kH = F::kHalves;
  Accumulators<kRows> total;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, true, total);
  const std::byte* block = t.w;
  const uint32_t* x = t.x;
  for (int64_t b = 0; b < t.groups / F::kBlockGroups; ++b, block += F::kBlockBytes) {
    for (int g = 0; g < F::kBlockGroups; ++g, x += kGroupWords * kRows) {
      __m512i high[static_cast<size_t>(kH)][static_cast<size_t>(2 * kRows)];
      __m512i low[static_cast<size_t>(kH)][static_cast<size_t>(2 * kRows)];
      Unroll<kH>([&](auto h) INHOUSE_INLINE_LAMBDA {
        Unroll<2 * kRows>(
            [&](auto i) INHOUSE_INLINE_LAMBDA { high[h][i] = low[h][i] = _mm512_setzero_si512(); });
      });
      Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
        __m512i w[4];
        F::Codes(block, g, q, w);
        Unroll<2>([&](auto s) INHOUSE_INLINE_LAMBDA {  // words q and q + 4
          Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
            const __m512i xh = Broadcast(x + (q + 4 * s) * kRows + m);
            const __m512i xl = Broadcast(x + (kWordLow + q + 4 * s) * kRows + m);
            constexpr int kHalf = kH == 2 ? decltype(s)::value : 0;
            Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
              high[kHalf][2 * m + i] = DotBytes(high[kHalf][2 * m + i], w[2 * s + i], xh);
              low[kHalf][2 * m + i] = DotBytes(low[kHalf][2 * m + i], w[2 * s + i], xl);
            });
          });
        });
      });
      Unroll<kH>([&](auto h) INHOUSE_INLINE_LAMBDA {
        __m512 scale[2];
        __m512 min[2];
        F::Scales(block, g, h, scale, min);
        Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
          const __m512 x_scale = BroadcastFloat(x + kWordScale * kRows + m);
          const __m512 x_sum = SumOfX<F>(x + m, kRows, h, x_scale);
          __m512i sum[2];
          Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
            sum[i] = _mm512_add_epi32(_mm512_slli_epi32(high[h][2 * m + i], 8), low[h][2 * m + i]);
            if constexpr (!F::kMin) {
              sum[i] = _mm512_add_epi32(sum[i], OffsetCorrection<F>(x + m, kRows, h));
            }
          });
          Flush<F::kMin, kRows>(sum, scale, min, x_scale, x_sum, m, total);
        });
      });
    }
  }
  StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
}

// How a group lies in scratch: float scales (and minima) of each half, then the 8 words of codes,
// with the offset 128 unless there are minima. The same interface as a format's, one group a block.
template <int kHalvesOf, bool kMinOf>
struct Expanded {
  static constexpr int kHalves = kHalvesOf;
  static constexpr bool kMin = kMinOf;
  static constexpr int kOffset = 128;
  static constexpr int kCodesAt = 128 * kHalves * (kMin ? 2 : 1);
  static constexpr int kGroupBytes = kCodesAt + 1024;

  static INHOUSE_INLINE void Scales(const std::byte* p, int half, __m512 (&scale)[2],
                                    __m512 (&min)[2]) {
    Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
      scale[i] = _mm512_load_ps(p + 128 * half + 64 * i);
      if constexpr (kMin) min[i] = _mm512_load_ps(p + 128 * (kHalves + half) + 64 * i);
    });
  }
};

// Many rows: T is Expanded, or a panel that can be used as it is. The planes are taken one after
// the other into the same accumulators, so that sums and totals of kRows x 32 fit the registers.
template <typename T, int kRows, int kPrefetchBytes>
void RunExpanded(const GroupTile& t) {
  Accumulators<kRows> total;
  LoadAccumulators<kRows>(t.y, t.ldy, t.mask, t.first, total);
  const std::byte* group = t.w;
  const std::byte* ahead = t.prefetch;
  const uint32_t* x = t.x;
  constexpr int kWords = 8 / T::kHalves;
  for (int64_t g = 0; g < t.groups; ++g, group += T::kGroupBytes, x += kGroupWords * t.stride) {
    if (ahead != nullptr) {
      Unroll<(kPrefetchBytes + 63) / 64>([&](auto i)
                                             INHOUSE_INLINE_LAMBDA { Prefetch(ahead + 64 * i); });
      ahead += kPrefetchBytes;
    }
    for (int half = 0; half < T::kHalves; ++half) {
      const std::byte* codes = group + T::kCodesAt + half * kWords * 128;
      const uint32_t* words = x + half * kWords * t.stride;
      __m512i acc[static_cast<size_t>(2 * kRows)];
      const auto plane = [&](const uint32_t* from) INHOUSE_INLINE_LAMBDA {
        Unroll<kWords>([&](auto q) INHOUSE_INLINE_LAMBDA {
          const __m512i w0 = Load(codes + 128 * q);
          const __m512i w1 = Load(codes + 128 * q + 64);
          const uint32_t* row = from + q * t.stride;
          Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
            const __m512i v = Broadcast(row + m);
            acc[2 * m] = DotBytes(acc[2 * m], w0, v);
            acc[2 * m + 1] = DotBytes(acc[2 * m + 1], w1, v);
          });
        });
      };
      Unroll<2 * kRows>([&](auto i) INHOUSE_INLINE_LAMBDA { acc[i] = _mm512_setzero_si512(); });
      plane(words);
      Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
        Unroll<2>([&](auto i) INHOUSE_INLINE_LAMBDA {
          acc[2 * m + i] = _mm512_slli_epi32(acc[2 * m + i], 8);
          if constexpr (!T::kMin) {
            acc[2 * m + i] =
                _mm512_add_epi32(acc[2 * m + i], OffsetCorrection<T>(x + m, t.stride, half));
          }
        });
      });
      plane(words + kWordLow * t.stride);
      __m512 scale[2];
      __m512 min[2];
      T::Scales(group, half, scale, min);
      Unroll<kRows>([&](auto m) INHOUSE_INLINE_LAMBDA {
        const __m512i sum[2] = {acc[2 * m], acc[2 * m + 1]};
        const __m512 x_scale = BroadcastFloat(x + kWordScale * t.stride + m);
        const __m512 x_sum = SumOfX<T>(x + m, t.stride, half, x_scale);
        Flush<T::kMin, kRows>(sum, scale, min, x_scale, x_sum, m, total);
      });
    }
  }
  StoreAccumulators<kRows>(t.y, t.ldy, t.mask, total);
}

}  // namespace
}  // namespace inhouse::engine
