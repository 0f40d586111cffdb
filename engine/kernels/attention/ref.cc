// Attention in plain C++: the judge of the fast levels, and the path of CPUs without one.
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <limits>

#include "engine/kernels/attention/attention_kernels.h"
#include "engine/tensor/float16.h"

namespace inhouse::engine {
namespace {

constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

// Each type of pages: `Put` stores a row of n numbers at codes `stride` apart (and its scale, if
// the type has one, at `token`), `Get` gives back the number at `index`, which belongs to `token`.
struct F32 {
  static constexpr DType kDType = DType::kF32;
  static void Put(const float* row, int64_t n, int /*token*/, int64_t first, int64_t stride,
                  std::byte* block) {
    auto* codes = reinterpret_cast<float*>(block) + first;
    for (int64_t i = 0; i < n; ++i) codes[i * stride] = row[i];
  }
  static float Get(const std::byte* block, int64_t index, int /*token*/) {
    return reinterpret_cast<const float*>(block)[index];
  }
};

struct F16 {
  static constexpr DType kDType = DType::kF16;
  static void Put(const float* row, int64_t n, int /*token*/, int64_t first, int64_t stride,
                  std::byte* block) {
    auto* codes = reinterpret_cast<uint16_t*>(block) + first;
    for (int64_t i = 0; i < n; ++i) {
      codes[i * stride] =
          ToF16(std::isfinite(row[i]) ? std::clamp(row[i], -65504.0F, 65504.0F) : row[i]);
    }
  }
  static float Get(const std::byte* block, int64_t index, int /*token*/) {
    return FromF16(reinterpret_cast<const uint16_t*>(block)[index]);
  }
};

struct BF16 {
  static constexpr DType kDType = DType::kBF16;
  static void Put(const float* row, int64_t n, int /*token*/, int64_t first, int64_t stride,
                  std::byte* block) {
    auto* codes = reinterpret_cast<uint16_t*>(block) + first;
    for (int64_t i = 0; i < n; ++i) codes[i * stride] = ToBF16(row[i]);
  }
  static float Get(const std::byte* block, int64_t index, int /*token*/) {
    return FromBF16(reinterpret_cast<const uint16_t*>(block)[index]);
  }
};

// E4M3 with a power of two for each token, such that the largest number is stored as 128 to 256.
struct Scaled {
  static constexpr DType kDType = DType::kF8E4M3;
  static constexpr int64_t kScaleBytes = kPageTokens * sizeof(float);

  // |x| < 256 to the nearest code, ties to even.
  static uint8_t Encode(float x) {
    const uint8_t sign = std::signbit(x) ? 0x80 : 0;
    if (x == 0) return sign;
    int exponent = 0;
    std::frexp(x, &exponent);
    // x = f 2^exponent with 0.5 <= f < 1: four significant bits, and no step below 2^-9.
    const int step = std::max(exponent - 4, -9);
    const auto steps = static_cast<int>(std::nearbyint(std::ldexp(std::abs(x), -step)));
    // Codes count up from 0 in steps of 2^-9, and on through each octave of 8.
    return static_cast<uint8_t>(sign | (steps + (step + 9) * 8));
  }
  static float Decode(uint8_t code) {
    const int exponent = code >> 3 & 15;
    const int mantissa = code & 7;
    const float magnitude = exponent == 0
                                ? std::ldexp(static_cast<float>(mantissa), -9)
                                : std::ldexp(static_cast<float>(8 + mantissa), exponent - 10);
    return (code & 0x80) != 0 ? -magnitude : magnitude;
  }

  static void Put(const float* row, int64_t n, int token, int64_t first, int64_t stride,
                  std::byte* block) {
    auto* codes = reinterpret_cast<uint8_t*>(block + kScaleBytes) + first;
    float& scale = reinterpret_cast<float*>(block)[token];
    float largest = 0;
    bool finite = true;
    for (int64_t i = 0; i < n; ++i) {
      largest = std::max(largest, std::abs(row[i]));
      finite &= std::isfinite(row[i]);
    }
    if (!finite) {  // nothing finite comes of this token
      scale = std::numeric_limits<float>::quiet_NaN();
      for (int64_t i = 0; i < n; ++i) codes[i * stride] = 0;
      return;
    }
    const int exponent = std::max(largest > 0 ? std::ilogb(largest) - 7 : -126, -126);
    scale = std::ldexp(1.0F, exponent);
    for (int64_t i = 0; i < n; ++i) codes[i * stride] = Encode(std::ldexp(row[i], -exponent));
  }
  static float Get(const std::byte* block, int64_t index, int token) {
    return Decode(reinterpret_cast<const uint8_t*>(block + kScaleBytes)[index]) *
           reinterpret_cast<const float*>(block)[token];
  }
};

template <typename Kv>
void Store(const float* key, const float* value, int head_dim, int slot, std::byte* k,
           std::byte* v) {
  Kv::Put(key, head_dim, slot, slot, kPageTokens, k);
  Kv::Put(value, head_dim, slot, int64_t{slot} * head_dim, 1, v);
}

// Scores of the visible tokens into `scores`; returns the largest (-inf if there is none).
template <typename Kv>
float Score(const AttentionBlock& block, const float* q, int visible, float* scores) {
  double sums[kPageTokens] = {};
  for (int64_t d = 0; d < block.head_dim; ++d) {
    for (int t = 0; t < visible; ++t) {
      sums[t] += double{q[d]} * double{Kv::Get(block.k, d * kPageTokens + t, t)};
    }
  }
  float max = kMinusInfinity;
  for (int t = 0; t < visible; ++t) {
    scores[t] = static_cast<float>(sums[t]);
    max = std::max(max, scores[t]);
  }
  return max;
}

template <typename Kv>
void AddRow(const AttentionBlock& block, int64_t row) {
  const int visible = block.visible[row];
  float* scores = block.scratch + row * kPageTokens;
  const float page_max = Score<Kv>(block, block.q + row * block.ldq, visible, scores);

  AttentionState& state = block.state[row];
  const float new_max = std::max(state.max, page_max);
  // While every score is -inf any finite base serves: the weights are 2^-inf = 0, not NaN.
  const float base = new_max == kMinusInfinity ? 0.0F : new_max;
  const float correction = std::exp2(state.max - base);
  float sum = 0;
  for (int t = 0; t < visible; ++t) {
    scores[t] = std::exp2(scores[t] - base);
    sum += scores[t];
  }
  state = {new_max, state.sum * correction + sum};

  float* out = block.out + row * block.ldout;
  for (int64_t d = 0; d < block.head_dim; ++d) out[d] *= correction;
  for (int t = 0; t < visible; ++t) {
    for (int64_t d = 0; d < block.head_dim; ++d) {
      out[d] += scores[t] * Kv::Get(block.v, int64_t{t} * block.head_dim + d, t);
    }
  }
}

template <typename Kv>
void AddPage(const AttentionBlock& block) {
  for (int64_t row = 0; row < block.n_queries; ++row) {
    if (block.visible[row] > 0) AddRow<Kv>(block, row);
  }
}

}  // namespace

int64_t KvBlockBytes(DType kv, int head_dim) {
  return RowBytes(kv, int64_t{head_dim} * kPageTokens) +
         (kv == DType::kF8E4M3 ? Scaled::kScaleBytes : 0);
}

const AttentionKernel kAttentionF32Ref = {"ref", F32::kDType, Store<F32>, AddPage<F32>};
const AttentionKernel kAttentionF16Ref = {"ref", F16::kDType, Store<F16>, AddPage<F16>};
const AttentionKernel kAttentionBf16Ref = {"ref", BF16::kDType, Store<BF16>, AddPage<BF16>};
const AttentionKernel kAttentionE4M3Ref = {"ref", Scaled::kDType, Store<Scaled>, AddPage<Scaled>};

}  // namespace inhouse::engine
