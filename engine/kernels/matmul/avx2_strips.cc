#include "engine/kernels/matmul/avx2_strips.h"

#include <immintrin.h>

#include <cstring>

namespace inhouse::engine::avx2 {
namespace {

constexpr int64_t RoundUp(int64_t n, int64_t to) { return (n + to - 1) / to * to; }

// The codes of a group, as 32-bit integers; at most 128 columns.
struct Quantized {
  __m256i codes[16];
  float scale;
};

float ReduceMax(__m256 v) {
  __m128 s = _mm_max_ps(_mm256_castps256_ps128(v), _mm256_extractf128_ps(v, 1));
  s = _mm_max_ps(s, _mm_movehl_ps(s, s));
  return _mm_cvtss_f32(_mm_max_ss(s, _mm_movehdup_ps(s)));
}

// `x` has kVectors * 8 columns.
template <int kVectors>
Quantized Quantize(const float* x, float code_max) {
  const __m256 sign = _mm256_set1_ps(-0.0F);
  __m256 max = _mm256_setzero_ps();
  __m256 poison = _mm256_setzero_ps();  // x * 0 is NaN if x is not finite
  for (int i = 0; i < kVectors; ++i) {
    const __m256 v = _mm256_loadu_ps(x + 8 * i);
    max = _mm256_max_ps(_mm256_andnot_ps(sign, v), max);
    poison = _mm256_fmadd_ps(v, _mm256_setzero_ps(), poison);
  }
  Quantized q;
  const float amax = ReduceMax(max);
  const bool finite = _mm256_movemask_ps(_mm256_cmp_ps(poison, poison, _CMP_UNORD_Q)) == 0;
  // Below 1e-30 the reciprocal nears infinity; such a group is zero beside anything else.
  const bool zero = !(amax > 1e-30F) || !finite;
  q.scale = !finite ? __builtin_nanf("") : zero ? 0.0F : amax / code_max;
  const __m256 inverse = _mm256_set1_ps(zero ? 0.0F : code_max / amax);
  for (int i = 0; i < kVectors; ++i) {
    const __m256 v = finite ? _mm256_loadu_ps(x + 8 * i) : _mm256_setzero_ps();
    q.codes[i] = _mm256_cvtps_epi32(_mm256_mul_ps(v, inverse));
  }
  return q;
}

// Copies word i of `words` to to[i * rows].
template <int N>
void Scatter(const void* words, std::byte* to, int64_t rows) {
  for (int i = 0; i < N; ++i) {
    std::memcpy(to + 4 * i * rows, static_cast<const std::byte*>(words) + 4 * i, 4);
  }
}

// Four vectors of 32-bit integers that fit a byte, as bytes in order.
__m256i Bytes(const __m256i* v) {
  const __m256i bytes =
      _mm256_packs_epi16(_mm256_packs_epi32(v[0], v[1]), _mm256_packs_epi32(v[2], v[3]));
  // The packs work on 128-bit lanes.
  return _mm256_permutevar8x32_epi32(bytes, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

struct Lanes {  // int16 pairs
  int32_t whole;
  int32_t halfs[2];
};

Lanes LaneSums(__m256i bytes) {
  __m256i s = _mm256_maddubs_epi16(_mm256_set1_epi8(1), bytes);
  s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0x4E));
  s = _mm256_add_epi16(s, _mm256_shuffle_epi32(s, 0xB1));
  const __m128i low = _mm256_castsi256_si128(s);
  const __m128i high = _mm256_extracti128_si256(s, 1);
  return {_mm_cvtsi128_si32(_mm_add_epi16(low, high)),
          {_mm_cvtsi128_si32(low), _mm_cvtsi128_si32(high)}};
}

int32_t BothLanes(int32_t lanes) {
  return static_cast<int16_t>(lanes & 0xFFFF) + static_cast<int16_t>(lanes >> 16);
}

template <int kPlanes>
struct Planes {
  using Record = PlaneRecord<kPlanes>;
  static constexpr float kCodeMax = kPlanes == 1 ? 127.0F : 32512.0F;  // 127 * 255 + 127

  // c = 255 * high + low, high the nearest: c is an integer, so there are no ties.
  static void Split(const __m256i* c, __m256i* high, __m256i* low) {
    for (int i = 0; i < 4; ++i) {
      high[i] = _mm256_cvtps_epi32(
          _mm256_mul_ps(_mm256_cvtepi32_ps(c[i]), _mm256_set1_ps(1.0F / 255.0F)));
      low[i] = _mm256_sub_epi32(c[i], _mm256_sub_epi32(_mm256_slli_epi32(high[i], 8), high[i]));
    }
  }

  // `at` is the record of row 0 plus four times the row; returns the sum of the codes.
  static int32_t Store(const __m256i* codes, float scale, std::byte* at, int64_t rows) {
    __m256i words[2][4];
    if constexpr (kPlanes == 2) {
      Split(codes, words[0], words[1]);
    }
    int32_t halfs[2] = {};
    for (int p = 0; p < kPlanes; ++p) {
      const __m256i bytes = Bytes(kPlanes == 1 ? codes : words[p]);
      Scatter<8>(&bytes, at + (Record::kCodes + 4 * p) * rows, kPlanes * rows);
      const Lanes lanes = LaneSums(bytes);
      Scatter<3>(&lanes, at + (Record::kLanes + 12 * p) * rows, rows);
      for (int h = 0; h < 2; ++h) halfs[h] = 255 * halfs[h] + BothLanes(lanes.halfs[h]);
    }
    const float scaled[2] = {scale * static_cast<float>(halfs[0]),
                             scale * static_cast<float>(halfs[1])};
    std::memcpy(at + Record::kScale * rows, &scale, 4);
    Scatter<2>(scaled, at + Record::kScaledHalfs * rows, rows);
    return halfs[0] + halfs[1];
  }

  static void StoreSum(float scaled_sum, std::byte* at, int64_t rows) {
    std::memcpy(at + Record::kScaledSum * rows, &scaled_sum, 4);
  }
};

int32_t ReduceAdd(__m256i v) {
  __m128i s = _mm_add_epi32(_mm256_castsi256_si128(v), _mm256_extracti128_si256(v, 1));
  s = _mm_add_epi32(s, _mm_shuffle_epi32(s, 0x4E));
  return _mm_cvtsi128_si32(_mm_add_epi32(s, _mm_shuffle_epi32(s, 0xB1)));
}

template <bool kSums>
struct Words {
  using Record = WordRecord<kSums>;
  static constexpr float kCodeMax = 32512.0F;  // that of two planes

  static int32_t Store(const __m256i* codes, float scale, std::byte* at, int64_t rows) {
    int32_t halfs[2] = {};
    for (int half = 0; half < 2; ++half) {
      const __m256i* c = codes + 2 * half;
      const __m256i words = _mm256_permute4x64_epi64(_mm256_packs_epi32(c[0], c[1]), 0xD8);
      Scatter<8>(&words, at + (Record::kCodes + 32 * half) * rows, rows);
      if constexpr (kSums) halfs[half] = ReduceAdd(_mm256_add_epi32(c[0], c[1]));
    }
    std::memcpy(at + Record::kScale * rows, &scale, 4);
    if constexpr (kSums) {
      const float scaled[2] = {scale * static_cast<float>(halfs[0]),
                               scale * static_cast<float>(halfs[1])};
      Scatter<2>(scaled, at + Record::kScaledHalfs * rows, rows);
    }
    return halfs[0] + halfs[1];
  }
  static void StoreSum(float scaled_sum, std::byte* at, int64_t rows) {
    if constexpr (kSums) std::memcpy(at + Record::kScaledSum * rows, &scaled_sum, 4);
  }
};

float PowerOfTwo(int exponent) {  // -126..127
  const auto bits = static_cast<uint32_t>(exponent + 127) << 23;
  float power;
  std::memcpy(&power, &bits, 4);
  return power;
}

// The largest number of a scaled row is 2^110..2^111. A sum of 128 products with E4M3 weights is
// then below 2^127; with weights that are 2^-120 too small, below 2^7.
constexpr int kLargest = 110;
// What is smaller after that counts as zero, so that no product is too small for a float in one of
// the two cases alone: a row gets the same bits in both.
constexpr float kSmallest = 0x1p20F;

// The exponent of the power of two that brings the row x there.
int ScaleExponent(const float* x, int64_t k) {
  uint32_t max = 0;  // magnitudes order like their bits
  for (int64_t i = 0; i < k; ++i) {
    uint32_t bits;
    std::memcpy(&bits, x + i, 4);
    bits &= 0x7FFFFFFFU;
    max = bits > max ? bits : max;
  }
  if (max == 0) return 0;
  if (max >= 0x7F800000U) return kLargest - 127;  // the finite ones beside it must not overflow
  // A subnormal maximum counts as the smallest normal number.
  const int exponent = max < 0x00800000U ? -126 : static_cast<int>(max >> 23) - 127;
  return kLargest - exponent;
}

template <typename Layout, int kColumns>
int64_t StripBytes(int64_t k) {
  return RoundUp(RoundUp(k, kColumns) / kGroup * Layout::Record::kBytes * kStripRows, 64);
}

template <typename Layout, int kColumns>
void PackGroup(const float* x, int64_t row, int64_t rows, std::byte* record) {
  constexpr int kRecords = kColumns / kGroup;
  const Quantized q = Quantize<kColumns / 8>(x, Layout::kCodeMax);
  int32_t sum = 0;
  for (int i = 0; i < kRecords; ++i) {
    std::byte* at = record + i * Layout::Record::kBytes * rows + 4 * row;
    sum += Layout::Store(q.codes + 4 * i, q.scale, at, rows);
  }
  for (int i = 0; i < kRecords; ++i) {
    Layout::StoreSum(q.scale * static_cast<float>(sum),
                     record + i * Layout::Record::kBytes * rows + 4 * row, rows);
  }
}

// `Room` is the layout whose strips are as far apart as these.
template <typename Layout, int kColumns, typename Room = Layout>
void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
               std::byte* packed_x) {
  static_assert(Room::Record::kBytes >= Layout::Record::kBytes);
  std::byte* strip = packed_x + m0 / kStripRows * StripBytes<Room, kColumns>(k);
  const int64_t rows = m1 - m0;
  for (int64_t begin = 0; begin < k; begin += kColumns) {
    std::byte* record = strip + begin / kGroup * Layout::Record::kBytes * rows;
    for (int64_t r = 0; r < rows; ++r) {
      const float* from = x + (m0 + r) * ldx + begin;
      if (k - begin >= kColumns) {
        PackGroup<Layout, kColumns>(from, r, rows, record);
      } else {
        float padded[size_t{kColumns}] = {};
        std::memcpy(padded, from, static_cast<size_t>(k - begin) * sizeof(float));
        PackGroup<Layout, kColumns>(padded, r, rows, record);
      }
    }
  }
}

}  // namespace

int64_t FloatStripBytes(int64_t k) { return RoundUp(RoundUp(k, 4) * kStripRows * 4, 64); }

void PackFloatStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                    std::byte* packed_x) {
  auto* strip = reinterpret_cast<float*>(packed_x + m0 / kStripRows * FloatStripBytes(k));
  const int64_t rows = m1 - m0;
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + (m0 + r) * ldx;
    for (int64_t i = 0; i < k; ++i) strip[i * rows + r] = from[i];
    for (int64_t i = k; i < RoundUp(k, 4); ++i) strip[i * rows + r] = 0.0F;
  }
}

int64_t ScaledStripBytes(int64_t k) { return RoundUp((RoundUp(k, 4) + 2) * kStripRows * 4, 64); }

void PackScaledStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                     std::byte* packed_x) {
  auto* strip = reinterpret_cast<float*>(packed_x + m0 / kStripRows * ScaledStripBytes(k));
  const int64_t rows = m1 - m0;
  const int64_t columns = RoundUp(k, 4);
  for (int64_t r = 0; r < rows; ++r) {
    const float* from = x + (m0 + r) * ldx;
    const int up = ScaleExponent(from, k);
    // A power of two may be no float; two halves of it are.
    const float up_half = PowerOfTwo(up / 2);
    const float up_rest = PowerOfTwo(up - up / 2);
    for (int64_t i = 0; i < k; ++i) {
      const float value = from[i] * up_half * up_rest;
      const bool small = value < kSmallest && value > -kSmallest;
      strip[i * rows + r] = small ? 0.0F : value;
    }
    for (int64_t i = k; i < columns; ++i) strip[i * rows + r] = 0.0F;
    const int back = 120 - up;
    strip[columns * rows + r] = PowerOfTwo(back / 2);
    strip[(columns + 1) * rows + r] = PowerOfTwo(back - back / 2);
  }
}

int64_t ByteStripBytes32(int64_t k) { return StripBytes<Planes<1>, 32>(k); }
int64_t ByteStripBytes128(int64_t k) { return StripBytes<Planes<1>, 128>(k); }
int64_t PlaneStripBytes32(int64_t k) { return StripBytes<Planes<2>, 32>(k); }
int64_t PlaneStripBytes128(int64_t k) { return StripBytes<Planes<2>, 128>(k); }
int64_t WordStripBytes32(int64_t k) { return StripBytes<Words<false>, 32>(k); }
int64_t WordStripBytes128(int64_t k) { return StripBytes<Words<false>, 128>(k); }

void PackByteStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                     std::byte* packed_x) {
  PackStrip<Planes<1>, 32>(x, ldx, m0, m1, k, packed_x);
}
void PackByteStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                      std::byte* packed_x) {
  PackStrip<Planes<1>, 128>(x, ldx, m0, m1, k, packed_x);
}
void PackPlaneStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                      std::byte* packed_x) {
  PackStrip<Planes<2>, 32>(x, ldx, m0, m1, k, packed_x);
}
void PackPlaneStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/,
                       int64_t k, std::byte* packed_x) {
  PackStrip<Planes<2>, 128>(x, ldx, m0, m1, k, packed_x);
}
void PackPlaneOrWordStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m,
                            int64_t k, std::byte* packed_x) {
  if (m <= kPlaneRows) return PackPlaneStrip32(x, ldx, m0, m1, m, k, packed_x);
  PackStrip<Words<true>, 32, Planes<2>>(x, ldx, m0, m1, k, packed_x);
}
void PackPlaneOrWordStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m,
                             int64_t k, std::byte* packed_x) {
  if (m <= kPlaneRows) return PackPlaneStrip128(x, ldx, m0, m1, m, k, packed_x);
  PackStrip<Words<true>, 128, Planes<2>>(x, ldx, m0, m1, k, packed_x);
}
void PackWordStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                     std::byte* packed_x) {
  PackStrip<Words<false>, 32>(x, ldx, m0, m1, k, packed_x);
}
void PackWordStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t /*m*/, int64_t k,
                      std::byte* packed_x) {
  PackStrip<Words<false>, 128>(x, ldx, m0, m1, k, packed_x);
}

}  // namespace inhouse::engine::avx2
