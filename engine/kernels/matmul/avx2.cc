// The AVX2 + FMA + F16C level. Every floating and block type: float weights by FMA, the common GGUF
// blocks in integers, the others expanded.
#include <immintrin.h>

#include "engine/kernels/matmul/avx2_expand.h"
#include "engine/kernels/matmul/avx2_float.h"
#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

// acc += v. With the intrinsics GCC 12 moves the accumulators of a tile about, and spills them.
[[gnu::always_inline]] inline void Add16(__m256i v, __m256i& acc) {
  asm("vpaddw %1, %0, %0" : "+x"(acc) : "x"(v));
}
[[gnu::always_inline]] inline void Add32(__m256i v, __m256i& acc) {
  asm("vpaddd %1, %0, %0" : "+x"(acc) : "x"(v));
}

// VPMADDUBSW adds pairs of u8 * s8 products into 16 bits with saturation: only codes that are small
// enough may meet in one accumulator.
struct Madd {
  // sum[r][c] = the group's products of nibbles. Eight quads of 2 * 15 * 127 stay below 2^15.
  template <int R, int C>
  [[gnu::always_inline]] static void Nibbles(const std::byte* w, const std::byte* x,
                                             IntTile<R, C>& sum) {
    const __m256i mask = _mm256_set1_epi8(15);
    Zero<R, C>(sum);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const std::byte* words = w + j * kPanelRows * 4;
      const auto add = [&sum](int r, int c, __m256i a, __m256i b) {
        Add16(_mm256_maddubs_epi16(b, a), sum[r][c]);
      };
      ForEachPair<R, C>(
          x + (2 * j) * 4 * R,
          [&](int c) { return _mm256_and_si256(LoadBytes(words + 32 * c), mask); }, add);
      ForEachPair<R, C>(
          x + (2 * j + 1) * 4 * R,
          [&](int c) {
            return _mm256_and_si256(_mm256_srli_epi16(LoadBytes(words + 32 * c), 4), mask);
          },
          add);
    }
    Widen<R, C>(sum);
  }

  // The products of half a group of six-bit codes: four quads of 2 * 63 * 127, two at a time.
  template <int R, int C>
  [[gnu::always_inline]] static void SixBits(const std::byte* nibbles, int half, const std::byte* x,
                                             IntTile<R, C>& sum);

  template <int R, int C>
  [[gnu::always_inline]] static void Zero(IntTile<R, C>& sum) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = _mm256_setzero_si256();
    }
  }
  // Pairs of 16-bit sums to 32-bit sums.
  template <int R, int C>
  [[gnu::always_inline]] static void Widen(IntTile<R, C>& sum) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        sum[r][c] = _mm256_madd_epi16(sum[r][c], _mm256_set1_epi16(1));
      }
    }
  }
};

template <int R, int C>
[[gnu::always_inline]] inline void Madd::SixBits(const std::byte* nibbles, int half,
                                                 const std::byte* x, IntTile<R, C>& sum) {
  Zero<R, C>(sum);
#pragma GCC unroll 2
  for (int q = 4 * half; q < 4 * half + 4; q += 2) {
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) {
      const __m256i w0 = Q6_K<Madd>::Quad(nibbles, q, c);
      const __m256i w1 = Q6_K<Madd>::Quad(nibbles, q + 1, c);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
        __m256i two = _mm256_maddubs_epi16(w0, Broadcast(x + q * 4 * R + 4 * r));
        Add16(_mm256_maddubs_epi16(w1, Broadcast(x + (q + 1) * 4 * R + 4 * r)), two);
        Add32(_mm256_madd_epi16(two, _mm256_set1_epi16(1)), sum[r][c]);
      }
    }
  }
}

// w = d q, q in -128..127. Full bytes would saturate VPMADDUBSW, so they are widened and multiplied
// in 16 bits. A panel block: d F16 [32], then q S8 [16][32 rows][2].
struct Q8_0 {
  static constexpr int Columns(int rows) { return TileColumns(rows); }
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 34;
  static constexpr int64_t kBlockBytes = kPanelRows * kStoredBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    for (int j = 0; j < kGroup / 2; ++j) {
      std::memcpy(block + 2 * kPanelRows * (1 + j) + 2 * row, stored + 2 + 2 * j, 2);
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
    Madd::Zero<R, C>(sum);
    const std::byte* w = block + 2 * kPanelRows + 16 * c0;
    const std::byte* wide = x + GroupOffsets::kWide * R;
#pragma GCC unroll 16
    for (int j = 0; j < kGroup / 2; ++j) {
      const auto* pairs = reinterpret_cast<const __m128i*>(w + j * 2 * kPanelRows);
      ForEachPair<R, C>(
          wide + j * 4 * R, [&](int c) { return _mm256_cvtepi8_epi16(_mm_load_si128(pairs + c)); },
          [&sum](int r, int c, __m256i a, __m256i b) {
            Add32(_mm256_madd_epi16(b, a), sum[r][c]);
          });
    }
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = LoadHalfs(block + 16 * (c0 + c));
    AddScaled<R, C>(sum, d, x, sums);
  }
};

constexpr MatMulKernel kKernels[] = {
    FloatKernel<F32Weights>::Table("avx2_f32", DType::kF32),
    FloatKernel<F16Weights>::Table("avx2_f16", DType::kF16),
    FloatKernel<BF16Weights>::Table("avx2_bf16", DType::kBF16),
    GroupKernel<Q8_0>::Table("avx2_q8_0", DType::kQ8_0),
    GroupKernel<Q4_0<Madd>>::Table("avx2_q4_0", DType::kQ4_0),
    GroupKernel<Q4_1<Madd>>::Table("avx2_q4_1", DType::kQ4_1),
    GroupKernel<Q4_K<Madd>>::Table("avx2_q4_k", DType::kQ4_K),
    GroupKernel<Q6_K<Madd>>::Table("avx2_q6_k", DType::kQ6_K),
    ExpandKernel<DType::kF64, 1, 8>::Table(),
    ExpandKernel<DType::kF8E4M3, 1, 1>::Table(),
    ExpandKernel<DType::kF8E5M2, 1, 1>::Table(),
    ExpandKernel<DType::kF8E8M0, 1, 1>::Table(),
    ExpandKernel<DType::kF4E2M1, 2, 1>::Table(),
    ExpandKernel<DType::kQ5_0, 32, 22>::Table(),
    ExpandKernel<DType::kQ5_1, 32, 24>::Table(),
    ExpandKernel<DType::kQ2_K, 256, 84>::Table(),
    ExpandKernel<DType::kQ3_K, 256, 110>::Table(),
    ExpandKernel<DType::kQ5_K, 256, 176>::Table(),
    ExpandKernel<DType::kMXFP4, 32, 17>::Table(),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvx2 = {avx2::kKernels,
                                static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
