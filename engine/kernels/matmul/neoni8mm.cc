// I8MM and BF16 (ARMv8.6): integer codes with SMMLA, BF16 and FP8 weights with BFMMLA.
#include "engine/kernels/matmul/matmul_kernels.h"
#include "engine/kernels/matmul/neon_bf16.h"
#include "engine/kernels/matmul/neon_group_list.h"

namespace inhouse::engine {
namespace neon {
namespace {

// 2 x 8 codes of x times 8 x 2 of weights: a unit of four rows has two vectors for each eight
// columns. One row of x is a pair whose other row is zero, as in neon_bf16.h.
template <int kPlaneCount>
struct Smmla {
  using Order = MatrixOrder;
  static constexpr int kPlanes = kPlaneCount;
  static constexpr int kWordBytes = 8;
  static constexpr int kRowUnit = 2;

  // Units of a tile with R rows: up to 24 accumulators, and a vector of weights for each unit.
  static constexpr int Columns(int rows) {
    const int fit = 24 / (rows * kPlanes);
    return fit >= 12 ? 8 : fit >= 4 ? 4 : 2;
  }

  template <int R, int C>
  struct Tile {
    int32x4_t sum[Size(kPlanes)][Size(R / 2)][Size(C)][2];
    INHOUSE_INLINE void Clear() {
      Unroll<kPlanes * R * C>([&](auto i) INHOUSE_INLINE_LAMBDA {
        sum[i / (R * C)][i / (2 * C) % (R / 2)][i / 2 % C][i % 2] = vdupq_n_s32(0);
      });
    }
  };

  // `x` stands at the 32 columns of which vector j holds eight.
  template <int R, int C>
  static INHOUSE_INLINE void Add(const int8x16_t (&w)[Size(C)], auto j, const std::byte* x,
                                 Tile<R, C>& tile) {
    Unroll<kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
      const std::byte* words = x + (j / 2 * kPlanes + p) * R * kWordBytes;
      Unroll<R / 2>([&](auto r) INHOUSE_INLINE_LAMBDA {
        const int8x16_t a = vreinterpretq_s8_u8(LoadBytes(words + 16 * r));
        Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
          int32x4_t& sum = tile.sum[p][r][c][j % 2];
          sum = vmmlaq_s32(sum, a, w[c]);
        });
      });
    });
  }

  // Row r of x times the four rows of unit c.
  template <int R, int C>
  static INHOUSE_INLINE int32x4_t Sum(const Tile<R, C>& tile, int r, int c) {
    const int32x4_t high = Halves(tile.sum[0][r / 2][c], r % 2);
    if constexpr (kPlanes == 1) return high;
    return vaddq_s32(vshlq_n_s32(high, 8), Halves(tile.sum[kPlanes - 1][r / 2][c], r % 2));
  }

 private:
  static INHOUSE_INLINE int32x4_t Halves(const int32x4_t (&sums)[2], int odd) {
    const int64x2_t a = vreinterpretq_s64_s32(sums[0]);
    const int64x2_t b = vreinterpretq_s64_s32(sums[1]);
    return vreinterpretq_s32_s64(odd == 0 ? vzip1q_s64(a, b) : vzip2q_s64(a, b));
  }
};

constexpr const char* kNames[] = {"neoni8mm_q8_0",    "neoni8mm_q4_0",     "neoni8mm_q4_1",
                                  "neoni8mm_q5_0",    "neoni8mm_q5_1",     "neoni8mm_mxfp4",
                                  "neoni8mm_i8_g128", "neoni8mm_i8_g32",   "neoni8mm_i4_g128",
                                  "neoni8mm_i4_g32",  "neoni8mm_i4m_g128", "neoni8mm_i4m_g32",
                                  "neoni8mm_q4_k",    "neoni8mm_q5_k",     "neoni8mm_q6_k"};
constexpr GroupKernelList kGroupKernels = GroupKernelsOf<Smmla>(kNames);

constexpr int kFloatKernels = 4;
struct KernelList {
  static constexpr int kCount = GroupKernelList::kCount + kFloatKernels;
  MatMulKernel of[kCount];
};
constexpr KernelList MakeKernels() {
  KernelList list{};
  int at = 0;
  for (const MatMulKernel& kernel : kGroupKernels.of) list.of[at++] = kernel;
  list.of[at++] = MatrixKernel<Bf16Steps, 0>::Table("neoni8mm_bf16", DType::kBF16);
  list.of[at++] = MatrixKernel<E4M3Steps, 0>::Table("neoni8mm_e4m3", DType::kF8E4M3);
  list.of[at++] = MatrixKernel<E4M3Steps, 128>::Table("neoni8mm_f8_g128", DType::kF8Group128);
  list.of[at++] = MatrixKernel<E4M3Steps, 32>::Table("neoni8mm_f8_g32", DType::kF8Group32);
  return list;
}
constexpr KernelList kKernels = MakeKernels();

}  // namespace
}  // namespace neon

const MatMulList kMatMulNeonI8mm = {neon::kKernels.of, neon::KernelList::kCount};

}  // namespace inhouse::engine
