// The AVX-VNNI level (VEX-encoded, client CPUs without AVX-512): integer codes with multiply, widen
// and add in one instruction. Float weights stay with AVX2.
#include <immintrin.h>

#include "engine/kernels/matmul/avx2_formats.h"
#include "engine/kernels/matmul/avx2_formats_k.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace avx2 {
namespace {

// acc += the products of four unsigned and four signed bytes. GCC 12's intrinsic copies the
// accumulator each time.
[[gnu::always_inline]] inline void DotBytes(__m256i weights, __m256i x, __m256i& acc) {
  asm("%{vex%} vpdpbusd %2, %1, %0" : "+x"(acc) : "x"(weights), "x"(x));
}

// A dot type (avx2_dots.h) for unsigned codes of up to eight bits by VPDPBUSD. A sum begins at
// -F::kOffset times the sum of x. Largest: 128 * 255 * 32512 < 2^31.
template <int kPlanes>
struct Vnni {
  using Record = PlaneRecord<kPlanes>;
  static constexpr int kTileRows = kPlanes == 1 ? 6 : 3;
  static constexpr int kDirectRows = 36;
  static constexpr int kDirectHalves = kPlanes == 1 ? 12 : 4;
  static constexpr int Columns(int rows) { return rows <= (kPlanes == 1 ? 2 : 1) ? 4 : 2; }

  // acc[plane] += the record, or half of it.
  template <typename F, int kHalf, int R, int C>
  [[gnu::always_inline]] static void AddRecord(const std::byte* block, int record, int c0,
                                               const std::byte* x, int64_t strip,
                                               IntTile<R, C>* acc) {
    if (kHalf != 1 && c0 == 0) F::Touch(block, record);
    if constexpr (F::kOffset != 0) {
#pragma GCC unroll 2
      for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const __m256i lanes =
              Broadcast(x + (Record::kLanes + 12 * p + 4 * (kHalf + 1)) * strip + 4 * r);
          const __m256i offset = _mm256_madd_epi16(lanes, _mm256_set1_epi16(-F::kOffset));
#pragma GCC unroll 8
          for (int c = 0; c < C; ++c) Add32(offset, acc[p][r][c]);
        }
      }
    }
    Unrolled<FirstQuad(kHalf), EndQuad(kHalf)>([&](int i) __attribute__((always_inline)) {
      const int q = kHalf == kWhole ? i / 2 + i % 2 * 4 : i;
      const std::byte* xq = x + (Record::kCodes + 4 * kPlanes * q) * strip;
      if constexpr (kPlanes == 1) {
        ForEachPair<R, C>(
            xq, [&](int c) { return F::Quad(block, record, q, c0 + c); },
            [&](int r, int c, __m256i a, __m256i w) { DotBytes(w, a, acc[0][r][c]); });
      } else {
        IntRow<C> b;
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) b[c] = F::Quad(block, record, q, c0 + c);
#pragma GCC unroll 2
        for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) {
            const __m256i a = Broadcast(xq + 4 * p * strip + 4 * r);
#pragma GCC unroll 8
            for (int c = 0; c < C; ++c) DotBytes(b[c], a, acc[p][r][c]);
          }
        }
      }
    });
  }

  template <typename F, int kHalf, int R, int C>
  [[gnu::always_inline]] static void Sum(const std::byte* block, int g, int c0, const std::byte* x,
                                         int64_t strip, IntTile<R, C>& sum) {
    IntTile<R, C> acc[size_t{kPlanes}];
#pragma GCC unroll 2
    for (int p = 0; p < kPlanes; ++p) {
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[p][r][c] = _mm256_setzero_si256();
      }
    }
    for (int i = 0; i < F::kGroupRecords; ++i) {
      AddRecord<F, kHalf, R, C>(block, g * F::kGroupRecords + i, c0, x, strip, acc);
      x += Record::kBytes * strip;
    }
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        sum[r][c] = acc[kPlanes - 1][r][c];
        if constexpr (kPlanes == 2) {  // 255 = 2^8 - 1
          const __m256i high = acc[0][r][c];
          sum[r][c] =
              _mm256_add_epi32(sum[r][c], _mm256_sub_epi32(_mm256_slli_epi32(high, 8), high));
        }
      }
    }
  }
};

template <typename F>
using Bits16 = GroupKernel<Vnni<2>, F, F::kGroupRecords == 1 ? kPlanes32 : kPlanes128>;
template <typename F>
using Bits8 = GroupKernel<Vnni<1>, F, F::kGroupRecords == 1 ? kBytes32 : kBytes128>;
using Q8_0 = ByteFormat<Header<2, false>, 1>;
template <int kRecords>
using I8 = ByteFormat<Header<4, false>, kRecords>;

constexpr MatMulKernel kKernels[] = {
    Bits16<Q8_0>::Table("avxvnni_q8_0", DType::kQ8_0),
    Bits16<I8<4>>::Table("avxvnni_i8g128", DType::kI8Group128),
    Bits16<I8<1>>::Table("avxvnni_i8g32", DType::kI8Group32),
    Bits8<Q8_0>::Table("avxvnni_q8_0_8", DType::kQ8_0),
    Bits8<I8<4>>::Table("avxvnni_i8g128_8", DType::kI8Group128),
    Bits8<I8<1>>::Table("avxvnni_i8g32_8", DType::kI8Group32),
    Bits16<I4<4>>::Table("avxvnni_i4g128", DType::kI4Group128),
    Bits16<I4<1>>::Table("avxvnni_i4g32", DType::kI4Group32),
    Bits16<I4Min<4>>::Table("avxvnni_i4mg128", DType::kI4MinGroup128),
    Bits16<I4Min<1>>::Table("avxvnni_i4mg32", DType::kI4MinGroup32),
    Bits16<Q4_0>::Table("avxvnni_q4_0", DType::kQ4_0),
    Bits16<Q4_1>::Table("avxvnni_q4_1", DType::kQ4_1),
    Bits16<Q5_0>::Table("avxvnni_q5_0", DType::kQ5_0),
    Bits16<Q5_1>::Table("avxvnni_q5_1", DType::kQ5_1),
    Bits16<MXFP4>::Table("avxvnni_mxfp4", DType::kMXFP4),
    Bits16<Q2_K>::Table("avxvnni_q2_k", DType::kQ2_K),
    Bits16<Q3_K>::Table("avxvnni_q3_k", DType::kQ3_K),
    Bits16<ScaleMinFormat<4>>::Table("avxvnni_q4_k", DType::kQ4_K),
    Bits16<ScaleMinFormat<5>>::Table("avxvnni_q5_k", DType::kQ5_K),
    Bits16<Q6_K>::Table("avxvnni_q6_k", DType::kQ6_K),
    Bits8<I4<4>>::Table("avxvnni_i4g128_8", DType::kI4Group128),
    Bits8<I4<1>>::Table("avxvnni_i4g32_8", DType::kI4Group32),
    Bits8<I4Min<4>>::Table("avxvnni_i4mg128_8", DType::kI4MinGroup128),
    Bits8<I4Min<1>>::Table("avxvnni_i4mg32_8", DType::kI4MinGroup32),
    Bits8<Q4_0>::Table("avxvnni_q4_0_8", DType::kQ4_0),
    Bits8<Q4_1>::Table("avxvnni_q4_1_8", DType::kQ4_1),
    Bits8<Q5_0>::Table("avxvnni_q5_0_8", DType::kQ5_0),
    Bits8<Q5_1>::Table("avxvnni_q5_1_8", DType::kQ5_1),
    Bits8<MXFP4>::Table("avxvnni_mxfp4_8", DType::kMXFP4),
    Bits8<Q2_K>::Table("avxvnni_q2_k_8", DType::kQ2_K),
    Bits8<Q3_K>::Table("avxvnni_q3_k_8", DType::kQ3_K),
    Bits8<ScaleMinFormat<4>>::Table("avxvnni_q4_k_8", DType::kQ4_K),
    Bits8<ScaleMinFormat<5>>::Table("avxvnni_q5_k_8", DType::kQ5_K),
    Bits8<Q6_K>::Table("avxvnni_q6_k_8", DType::kQ6_K),
};

}  // namespace
}  // namespace avx2

const MatMulList kMatMulAvxVnni = {avx2::kKernels,
                                   static_cast<int>(sizeof(avx2::kKernels) / sizeof(MatMulKernel))};

}  // namespace inhouse::engine
