// AVX-512 F BW VL DQ without dot products: F32, F16 and BF16 weights with float32 activations.
// Every weight is expanded exactly, so the only error is float32 summation.
#include "engine/kernels/matmul/avx512_float.h"
#include "engine/kernels/matmul/avx512_float_pack.h"
#include "engine/kernels/matmul/avx512_strips.h"
#include "engine/kernels/matmul/matmul_kernels.h"

namespace inhouse::engine {
namespace {

struct WeightsF16 {
  static constexpr int kSub = 1;
  static constexpr int kStepBytes = 64;
  static INHOUSE_INLINE void Expand(const std::byte* p, __m512i (&w)[2]) {
    w[0] = _mm512_castps_si512(LoadF16(p));
    w[1] = _mm512_castps_si512(LoadF16(p + 32));
  }
};

// Pairs of columns, the even one in the low half: a BF16 is the upper half of a float.
struct WeightsBF16 {
  static constexpr int kSub = 2;
  static constexpr int kStepBytes = 128;
  static INHOUSE_INLINE void Expand(const std::byte* p, __m512i (&w)[4]) {
    const __m512i upper = _mm512_set1_epi32(static_cast<int>(0xFFFF0000U));
    const __m512i a = Load(p);
    const __m512i b = Load(p + 64);
    w[0] = _mm512_slli_epi32(a, 16);
    w[1] = _mm512_slli_epi32(b, 16);
    w[2] = _mm512_and_si512(a, upper);
    w[3] = _mm512_and_si512(b, upper);
  }
};

constexpr int kPadColumns = 4;
using ProductF32 = FloatProduct<WeightsPlain, OpFma, 1, kPadColumns>;
using ProductF16 = FloatProduct<WeightsF16, OpFma, 1, kPadColumns>;
using ProductBF16 = FloatProduct<WeightsBF16, OpFma, 1, kPadColumns>;

void PackF32(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  PackWords32(rows, n_rows, 4 * k, k, panel);
}
void PackF16(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  PackWords16(rows, n_rows, k, panel);
}
void PackBF16(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
  PackWords32(rows, n_rows, 2 * k, (k + 1) / 2, panel);
}

// One layout for all three: columns padded to an even number.
int64_t StripBytes(int64_t k) { return ProductBF16::StripBytes(k); }
void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
               std::byte* packed_x) {
  std::byte* strip = packed_x + m0 / kStripRows * StripBytes(k);
  PackStripF32(x, ldx, m0, m1, k, ProductBF16::Substeps(k), reinterpret_cast<uint32_t*>(strip));
}

constexpr MatMulKernel kKernels[] = {
    {.name = "avx512_f32",
     .weights = DType::kF32,
     .activations = ActivationLayout::kF32,
     .panel_rows = kPanelRows,
     .strip_rows = kStripRows,
     .panel_bytes = ProductF32::PanelBytes,
     .pack_panel = PackF32,
     .strip_bytes = StripBytes,
     .pack_strip = PackStrip,
     .scratch_bytes = ProductF32::ScratchBytes,
     .run = ProductF32::Run},
    {.name = "avx512_f16",
     .weights = DType::kF16,
     .activations = ActivationLayout::kF32,
     .panel_rows = kPanelRows,
     .strip_rows = kStripRows,
     .panel_bytes = ProductF16::PanelBytes,
     .pack_panel = PackF16,
     .strip_bytes = StripBytes,
     .pack_strip = PackStrip,
     .scratch_bytes = ProductF16::ScratchBytes,
     .run = ProductF16::Run},
    {.name = "avx512_bf16_shift",
     .weights = DType::kBF16,
     .activations = ActivationLayout::kF32,
     .panel_rows = kPanelRows,
     .strip_rows = kStripRows,
     .panel_bytes = ProductBF16::PanelBytes,
     .pack_panel = PackBF16,
     .strip_bytes = StripBytes,
     .pack_strip = PackStrip,
     .scratch_bytes = ProductBF16::ScratchBytes,
     .run = ProductBF16::Run},
};

}  // namespace

const MatMulList kMatMulAvx512 = {kKernels, sizeof(kKernels) / sizeof(kKernels[0])};

}  // namespace inhouse::engine
