// Integer codes with SDOT (ARMv8.2 dot products): 16-bit activations as two planes of eight bits,
// or 8-bit activations. Float weights stay at the level below.
#include "engine/kernels/matmul/matmul_kernels.h"
#include "engine/kernels/matmul/neon_group_list.h"

namespace inhouse::engine {
namespace neon {
namespace {

// Each vector of weights, four rows of four columns, is multiplied with one word of each row of x,
// which SDOT takes from any lane.
template <int kPlaneCount>
struct Sdot {
  using Order = DotOrder;
  static constexpr int kPlanes = kPlaneCount;
  static constexpr int kWordBytes = 4;
  static constexpr int kRowUnit = 1;

  // Units of a tile with R rows: up to 24 accumulators, and a vector of weights for each unit.
  static constexpr int Columns(int rows) {
    const int fit = 24 / (rows * kPlanes);
    return fit >= 12 ? 8 : fit >= 4 ? 4 : 2;
  }

  template <int R, int C>
  struct Tile {
    int32x4_t sum[Size(kPlanes)][Size(R)][Size(C)];
    INHOUSE_INLINE void Clear() {
      Unroll<kPlanes * R * C>([&](auto i) INHOUSE_INLINE_LAMBDA {
        sum[i / (R * C)][i / C % R][i % C] = vdupq_n_s32(0);
      });
    }
  };

  // `x` stands at the 32 columns of which vector j holds four.
  template <int R, int C>
  static INHOUSE_INLINE void Add(const int8x16_t (&w)[Size(C)], auto j, const std::byte* x,
                                 Tile<R, C>& tile) {
    Unroll<kPlanes>([&](auto p) INHOUSE_INLINE_LAMBDA {
      const std::byte* words = x + (j * kPlanes + p) * R * kWordBytes;
      // The bytes after the R words belong to the strip.
      const int8x16_t first = vreinterpretq_s8_u8(LoadBytes(words));
      int8x8_t last;
      if constexpr (R > 4) last = vld1_s8(reinterpret_cast<const int8_t*>(words) + 16);
      Unroll<R>([&](auto r) INHOUSE_INLINE_LAMBDA {
        Unroll<C>([&](auto c) INHOUSE_INLINE_LAMBDA {
          int32x4_t& sum = tile.sum[p][r][c];
          if constexpr (decltype(r)::value < 4) {
            sum = vdotq_laneq_s32(sum, w[c], first, decltype(r)::value);
          } else {
            sum = vdotq_lane_s32(sum, w[c], last, decltype(r)::value - 4);
          }
        });
      });
    });
  }

  // Row r of x times the four rows of unit c.
  template <int R, int C>
  static INHOUSE_INLINE int32x4_t Sum(const Tile<R, C>& tile, int r, int c) {
    if constexpr (kPlanes == 1) return tile.sum[0][r][c];
    return vaddq_s32(vshlq_n_s32(tile.sum[0][r][c], 8), tile.sum[kPlanes - 1][r][c]);
  }
};

constexpr const char* kNames[] = {
    "neondot_q8_0",     "neondot_q4_0",    "neondot_q4_1",   "neondot_q5_0",    "neondot_q5_1",
    "neondot_mxfp4",    "neondot_i8_g128", "neondot_i8_g32", "neondot_i4_g128", "neondot_i4_g32",
    "neondot_i4m_g128", "neondot_i4m_g32", "neondot_q4_k",   "neondot_q5_k",    "neondot_q6_k"};
constexpr GroupKernelList kKernels = GroupKernelsOf<Sdot>(kNames);

}  // namespace
}  // namespace neon

const MatMulList kMatMulNeonDot = {neon::kKernels.of, neon::GroupKernelList::kCount};

}  // namespace inhouse::engine
