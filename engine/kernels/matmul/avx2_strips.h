// Packed activations of the AVX2 and AVX-VNNI levels. All products with float activations share one
// layout, all products with INT8 activations another, so that x is packed once for q, k and v.
//
// A strip holds kStripRows activation rows, the last one what is left; R is the number of its rows.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inhouse::engine::avx2 {

constexpr int kPanelRows = 32;
// Six rows by two vectors of eight outputs: twelve accumulators leave four of sixteen registers.
constexpr int kStripRows = 6;

// How far ahead of its reads a kernel prefetches its panel: decoding leaves too few loads in flight
// for the memory to run at full speed (measured: 0.83 of a plain read without, 0.95 with; 4 and 16
// KiB are worse). The end of a panel fetches the beginning of the next.
constexpr int64_t kPrefetchBytes = 8192;

// kF32: float x[k][R], k rounded up to even and padded with zeros (BF16 weights come in pairs).
int64_t FloatStripBytes(int64_t k);
void PackFloatStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                    std::byte* packed_x);

// kI16Groups32: groups of 32 columns, each with x ~ scale * code, code in -32512..32512. (Eight
// bits are too few: docs/decisions/0002.) The sums make up for weights that are stored with an
// offset. k is a multiple of 32.
constexpr int kGroup = 32;
struct GroupOffsets {  // bytes within a group of a strip with R rows, in units of R bytes
  static constexpr int kCodes = 0;       // int16 [16][R][2]: pairs, as VPMADDWD takes them
  static constexpr int kScale = 64;      // float [R]
  static constexpr int kScaledSum = 68;  // float [R]: scale * sum of the codes
  static constexpr int kSum = 72;        // int32 [R]: of the codes
  static constexpr int kHalfSums = 76;   // int32 [2][R]: of the first and the last 16
  static constexpr int kBytes = 84;
};
int64_t GroupStripBytes(int64_t k);
void PackGroupStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                    std::byte* packed_x);

}  // namespace inhouse::engine::avx2
