// BF16 and FP8 weights with VDPBF16PS: activations are rounded to BF16 once, products are exact and
// summed in float32. The instruction takes subnormal inputs as zero and flushes subnormal results:
// below 2^-126 nothing is kept. FP8 values are all normal as BF16.
#include "engine/kernels/matmul/avx512_float.h"
#include "engine/kernels/matmul/avx512_float_pack.h"
#include "engine/kernels/matmul/avx512_scaled_float.h"
#include "engine/kernels/matmul/avx512_strips.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

struct OpDot {  // w: 16 pairs of BF16, x: one pair
  static INHOUSE_INLINE __m512 Add(__m512 acc, __m512i w, __m512i x) {
#if defined(INHOUSE_EMULATED_ISA)
    return _mm512_dpbf16_ps(acc, (__m512bh)w, (__m512bh)x);
#else
    // Not the intrinsic: GCC 12 copies and spills accumulators around it.
    asm("vdpbf16ps %2, %1, %0" : "+v"(acc) : "v"(w), "v"(x));
    return acc;
#endif
  }
};

// The BF16 of each of the 128 magnitudes of an FP8 format, as low and high bytes: two byte permutes
// expand 64 codes exactly.
struct Fp8Table {
  alignas(64) uint8_t low[128];
  alignas(64) uint8_t high[128];
};

// The bits of mantissa / 2^mantissa_bits * 2^(exponent - bias) as BF16; `nan_from` and up are NaN,
// `inf` is infinity.
constexpr uint16_t Fp8ToBF16(int magnitude, int mantissa_bits, int bias, int nan_from, int inf) {
  if (magnitude == inf) return 0x7F80;
  if (magnitude >= nan_from) return 0x7FC0;
  int exponent = magnitude >> mantissa_bits;
  int mantissa = magnitude & ((1 << mantissa_bits) - 1);
  if (exponent == 0) {
    if (mantissa == 0) return 0;
    exponent = 1;
    while ((mantissa & (1 << mantissa_bits)) == 0) {
      mantissa <<= 1;
      --exponent;
    }
    mantissa &= (1 << mantissa_bits) - 1;
  }
  return static_cast<uint16_t>((exponent - bias + 127) << 7 | mantissa << (7 - mantissa_bits));
}

constexpr Fp8Table MakeTable(int mantissa_bits, int bias, int nan_from, int inf) {
  Fp8Table table{};
  for (int i = 0; i < 128; ++i) {
    const uint16_t bits = Fp8ToBF16(i, mantissa_bits, bias, nan_from, inf);
    table.low[i] = static_cast<uint8_t>(bits & 0xFF);
    table.high[i] = static_cast<uint8_t>(bits >> 8);
  }
  return table;
}

constexpr Fp8Table kE4M3 = MakeTable(3, 7, 127, -1);
constexpr Fp8Table kE5M2 = MakeTable(2, 15, 125, 124);

// Four columns a step. A register holds 16 rows: in each of its four 16-byte lanes columns 0 and 1
// of four rows, then columns 2 and 3, so that unpacking low and high bytes yields pairs by row.
template <const Fp8Table& kTable>
struct WeightsFp8 {
  static constexpr int kSub = 2;
  static constexpr int kStepBytes = 128;

  static INHOUSE_INLINE void Half(const std::byte* p, __m512i& first, __m512i& second) {
    const __m512i codes = Load(p);
    const __m512i low = _mm512_permutex2var_epi8(_mm512_load_si512(kTable.low), codes,
                                                 _mm512_load_si512(kTable.low + 64));
    const __m512i high = _mm512_permutex2var_epi8(_mm512_load_si512(kTable.high), codes,
                                                  _mm512_load_si512(kTable.high + 64));
    // high | (codes & 0x80): the sign
    const __m512i signed_high =
        _mm512_ternarylogic_epi32(high, codes, _mm512_set1_epi8(static_cast<char>(0x80)), 0xF8);
    first = _mm512_unpacklo_epi8(low, signed_high);
    second = _mm512_unpackhi_epi8(low, signed_high);
  }

  static INHOUSE_INLINE void Expand(const std::byte* p, __m512i (&w)[4]) {
    Half(p, w[0], w[2]);
    Half(p + 64, w[1], w[3]);
  }
};

constexpr int kPadColumns = 128;
using ProductBF16 = FloatProduct<WeightsPlain, OpDot, 2, kPadColumns>;
using ProductE4M3 = FloatProduct<WeightsFp8<kE4M3>, OpDot, 2, kPadColumns>;
using ProductE5M2 = FloatProduct<WeightsFp8<kE5M2>, OpDot, 2, kPadColumns>;
template <int kColumns>
using ProductGroups = ScaledFloatProduct<WeightsFp8<kE4M3>, OpDot, 2, kPadColumns, kColumns>;

void PackBF16(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  PackWords32(rows, n_rows, 2 * k, (k + 1) / 2, panel);
}

// Rows of blocks: a float32 scale and kColumns codes.
template <int kColumns>
void PackFp8Groups(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  using Product = ProductGroups<kColumns>;
  for (int64_t g = 0; g < Product::Groups(k); ++g) {
    std::byte* to = panel + g * Product::kGroupBytes;
    const std::byte* codes[kPanelRows];
    for (int r = 0; r < kPanelRows; ++r) {
      float scale = 0;
      if (r < n_rows) {
        const std::byte* block = rows[r] + g * (4 + kColumns);
        __builtin_memcpy(&scale, block, 4);
        codes[r] = block + 4;
      }
      __builtin_memcpy(to + 4 * r, &scale, 4);
    }
    PackBytes8(codes, n_rows, kColumns, to + kScaleBytes);
  }
}

// One layout for all: columns padded to the longest group.
int64_t StripBytes(int64_t k) { return ProductBF16::StripBytes(k); }
void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
               std::byte* packed_x) {
  std::byte* strip = packed_x + m0 / kStripRows * StripBytes(k);
  PackStripBF16(x, ldx, m0, m1, k, RoundUp(k, kPadColumns) / 2, reinterpret_cast<uint32_t*>(strip));
}

template <typename Product>
constexpr MatMulKernel Kernel(const char* name, DType weights,
                              void (*pack)(const std::byte* const*, int, int64_t, std::byte*)) {
  return {.name = name,
          .weights = weights,
          .activations = ActivationLayout::kBF16Pairs,
          .panel_rows = kPanelRows,
          .strip_rows = kStripRows,
          .panel_bytes = Product::PanelBytes,
          .pack_panel = pack,
          .strip_bytes = StripBytes,
          .pack_strip = PackStrip,
          .scratch_bytes = Product::ScratchBytes,
          .run = Product::Run};
}

constexpr MatMulKernel kKernels[] = {
    Kernel<ProductBF16>("avx512_bf16", DType::kBF16, PackBF16),
    Kernel<ProductE4M3>("avx512_e4m3", DType::kF8E4M3, PackBytes8),
    Kernel<ProductE5M2>("avx512_e5m2", DType::kF8E5M2, PackBytes8),
    Kernel<ProductGroups<128>>("avx512_f8_g128", DType::kF8Group128, PackFp8Groups<128>),
    Kernel<ProductGroups<32>>("avx512_f8_g32", DType::kF8Group32, PackFp8Groups<32>),
};

}  // namespace

const MatMulList kMatMulAvx512Bf16 = {kKernels, sizeof(kKernels) / sizeof(kKernels[0])};

}  // namespace inhouse::engine
