// Packed activations of the AVX2 and AVX-VNNI levels. Products that take the same layout share one
// packed x, so x is packed once for q, k and v.
//
// A strip holds kStripRows activation rows, the last one what is left; S is the number of its rows.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine::avx2 {

constexpr int kPanelRows = 32;
// Six rows by two vectors of eight outputs: twelve accumulators leave four of sixteen registers.
constexpr int kStripRows = 6;

// How far ahead of its reads a kernel prefetches its panel: decoding leaves too few loads in flight
// for the memory to run at full speed (measured: 0.83 of a plain read without, 0.95 with; 4 and 16
// KiB are worse). The end of a panel fetches the beginning of the next.
constexpr int64_t kPrefetchBytes = 8192;

// kF32: float x[k][S], k rounded up to four and padded with zeros (FP8 weights come in fours).
int64_t FloatStripBytes(int64_t k);
void PackFloatStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                    std::byte* packed_x);

// kF32 for weights that come 2^-120 too small (avx2_fp8.h): float x'[k][S], k rounded up to four,
// each row times the power of two that lets its products fit; then two factors float [2][S] that
// give 2^120 and that power back. Powers of two are exact.
int64_t ScaledStripBytes(int64_t k);
void PackScaledStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                     std::byte* packed_x);

// Integer layouts: x ~ scale * code, one scale for a group of 32 or 128 columns. A strip is a list
// of records of 32 columns; the records of a group of 128 have the same scale. Behind the end of k
// the columns of the last group are zeros. An infinity or a NaN makes the scale of its group NaN.
//
// Offsets are bytes within a record in units of S bytes: every field is [...][S] times four bytes.
constexpr int kGroup = 32;

// Codes in -127..127 (kPlanes 1), or in -32512..32512 as 255 * first plane + second plane, each in
// -127..127: so that the products of a plane with codes of up to 16 in size fit 16 bits.
template <int kPlanes>
struct PlaneRecord {
  static constexpr int kCodes = 0;  // int8 [8 quads of columns][kPlanes][S][4]
  // int16 [kPlanes][whole, first half, second half][S][2]: sums of the codes in the columns 0 and 1
  // of the quads, and of those in the columns 2 and 3: how VPMADDUBSW adds.
  static constexpr int kLanes = 32 * kPlanes;
  static constexpr int kScale = 44 * kPlanes;      // float [S]
  static constexpr int kScaledSum = kScale + 4;    // float [S]: scale * sum of the group's codes
  static constexpr int kScaledHalfs = kScale + 8;  // float [2][S]: of the record's halves
  static constexpr int kBytes = kScale + 16;
};

// Codes in -32512..32512 as they are, for VPMADDWD. With kSums also what weights with a minimum
// need.
template <bool kSums>
struct WordRecord {
  static constexpr int kCodes = 0;         // int16 [16 pairs of columns][S][2]
  static constexpr int kScale = 64;        // float [S]
  static constexpr int kScaledSum = 68;    // float [S], if kSums: as in PlaneRecord
  static constexpr int kScaledHalfs = 72;  // float [2][S], if kSums
  static constexpr int kBytes = kSums ? 80 : 68;
};

// Up to so many rows of 16-bit activations are laid out as planes for weights of few bits: those
// are decoded in registers, into bytes. For more rows they are decoded once, and then words are
// quicker. Both give the same sums.
constexpr int64_t kPlaneRows = 18;

struct StripLayout {
  ActivationLayout layout;
  int64_t (*strip_bytes)(int64_t k);
  void (*pack_strip)(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                     std::byte* packed_x);
};

int64_t ByteStripBytes32(int64_t k);
int64_t ByteStripBytes128(int64_t k);
int64_t PlaneStripBytes32(int64_t k);
int64_t PlaneStripBytes128(int64_t k);
int64_t WordStripBytes32(int64_t k);
int64_t WordStripBytes128(int64_t k);
void PackByteStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                     std::byte* packed_x);
void PackByteStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                      std::byte* packed_x);
void PackPlaneStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                      std::byte* packed_x);
void PackPlaneStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                       std::byte* packed_x);
// Planes or words with sums, by `m`; strips are as far apart in both cases.
void PackPlaneOrWordStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m,
                            int64_t k, std::byte* packed_x);
void PackPlaneOrWordStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m,
                             int64_t k, std::byte* packed_x);
void PackWordStrip32(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                     std::byte* packed_x);
void PackWordStrip128(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t m, int64_t k,
                      std::byte* packed_x);

constexpr StripLayout kBytes32 = {ActivationLayout::kI8Groups32, ByteStripBytes32, PackByteStrip32};
constexpr StripLayout kBytes128 = {ActivationLayout::kI8Groups128, ByteStripBytes128,
                                   PackByteStrip128};
constexpr StripLayout kPlanes32 = {ActivationLayout::kI16Groups32, PlaneStripBytes32,
                                   PackPlaneStrip32};
constexpr StripLayout kPlanes128 = {ActivationLayout::kI16Groups128, PlaneStripBytes128,
                                    PackPlaneStrip128};
constexpr StripLayout kPlanesOrWords32 = {ActivationLayout::kI16Groups32, PlaneStripBytes32,
                                          PackPlaneOrWordStrip32};
constexpr StripLayout kPlanesOrWords128 = {ActivationLayout::kI16Groups128, PlaneStripBytes128,
                                           PackPlaneOrWordStrip128};
constexpr StripLayout kWords32 = {ActivationLayout::kI16Groups32, WordStripBytes32,
                                  PackWordStrip32};
constexpr StripLayout kWords128 = {ActivationLayout::kI16Groups128, WordStripBytes128,
                                   PackWordStrip128};

}  // namespace inhouse::engine::avx2
