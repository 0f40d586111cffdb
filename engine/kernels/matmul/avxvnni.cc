// The AVX-VNNI level (VEX-encoded VPDPBUSD, client CPUs without AVX-512): the block formats with
// four products an instruction; float weights stay with AVX2.
#include <immintrin.h>

#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

// acc += u8 * s8 products, four to a lane. GCC 12's intrinsic copies the accumulator each time.
[[gnu::always_inline]] inline void DotBytes(__m256i& acc, __m256i weights, __m256i x) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(weights), "x"(x));
}

struct Vnni {
  template <int R, int C>
  [[gnu::always_inline]] static void Nibbles(const std::byte* w, const std::byte* x,
                                             IntTile<R, C>& sum) {
    const __m256i mask = _mm256_set1_epi8(15);
    Zero<R, C>(sum);
#pragma GCC unroll 4
    for (int j = 0; j < 4; ++j) {
      const std::byte* words = w + j * kPanelRows * 4;
      const auto add = [&sum](int r, int c, __m256i a, __m256i b) { DotBytes(sum[r][c], b, a); };
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
  }

  template <int R, int C>
  [[gnu::always_inline]] static void SixBits(const std::byte* nibbles, int half, const std::byte* x,
                                             IntTile<R, C>& sum) {
    Zero<R, C>(sum);
#pragma GCC unroll 4
    for (int q = 4 * half; q < 4 * half + 4; ++q) {
      ForEachPair<R, C>(
          x + q * 4 * R, [&](int c) { return Q6_K<Vnni>::Quad(nibbles, q, c); },
          [&sum](int r, int c, __m256i a, __m256i b) { DotBytes(sum[r][c], b, a); });
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void Zero(IntTile<R, C>& sum) {
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = _mm256_setzero_si256();
    }
  }
};

// w = d q. A panel block: d F16 [32], then q + 128 U8 [8][32 rows][4].
struct Q8_0 {
  static constexpr int Columns(int rows) { return TileColumns(rows); }
  static constexpr int kBlockGroups = 1;
  static constexpr int64_t kStoredBytes = 34;
  static constexpr int64_t kBlockBytes = kPanelRows * kStoredBytes;

  static void Pack(const std::byte* stored, int row, std::byte* block) {
    std::memcpy(block + 2 * row, stored, 2);
    std::byte* codes = block + 2 * kPanelRows;
    for (int j = 0; j < kGroup; ++j) {
      codes[j / 4 * kPanelRows * 4 + row * 4 + j % 4] = stored[2 + j] ^ std::byte{0x80};
    }
  }

  template <int R, int C>
  [[gnu::always_inline]] static void AddGroup(const std::byte* block, int /*g*/, int c0,
                                              const std::byte* x, float* sums) {
    IntTile<R, C> sum;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {  // the offset is paid in advance
      const __m256i offset =
          _mm256_sub_epi32(_mm256_setzero_si256(),
                           _mm256_slli_epi32(Broadcast(x + GroupOffsets::kSum * R + 4 * r), 7));
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) sum[r][c] = offset;
    }
    const std::byte* w = block + 2 * kPanelRows + 32 * c0;
#pragma GCC unroll 8
    for (int j = 0; j < kGroup / 4; ++j) {
      ForEachPair<R, C>(
          x + j * 4 * R, [&](int c) { return LoadBytes(w + j * kPanelRows * 4 + 32 * c); },
          [&sum](int r, int c, __m256i a, __m256i b) { DotBytes(sum[r][c], b, a); });
    }
    FloatRow<C> d;
#pragma GCC unroll 8
    for (int c = 0; c < C; ++c) d[c] = LoadHalfs(block + 16 * (c0 + c));
    AddScaled<R, C>(sum, d, x, sums);
  }
};

constexpr MatMulKernel kKernels[] = {
    GroupKernel<Q8_0>::Table("avxvnni_q8_0", DType::kQ8_0),
    GroupKernel<Q4_0<Vnni>>::Table("avxvnni_q4_0", DType::kQ4_0),
    GroupKernel<Q4_1<Vnni>>::Table("avxvnni_q4_1", DType::kQ4_1),
    GroupKernel<Q4_K<Vnni>>::Table("avxvnni_q4_k", DType::kQ4_K),
    GroupKernel<Q6_K<Vnni>>::Table("avxvnni_q6_k", DType::kQ6_K),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvxVnni = {avx2::kKernels,
                                   static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
