// Float32 -> INT8 or INT4 in groups of columns with one symmetric scale: compressed-tensors'
// `pack-quantized`.
#pragma once

#include <cstdint>

namespace inhouse::engine {

// `bits` is 4 or 8. Codes lie in [-2^(bits-1), 2^(bits-1) - 1]; value ~ code * scale. Scales are
// BF16 numbers, because that is how they are stored: codes are chosen for the scale that a reader
// will see.

// The nearest scale that can be stored: a positive BF16 number with a finite inverse.
float StorableScale(float scale);

// The scale that reaches the largest magnitude: amax / (2^(bits-1) - 1/2) as compressed-tensors has
// it, rounded to BF16; 1 for a group of zeros.
float AbsmaxScale(const float* weights, int64_t n, int bits);

// The scale, among several below and above AbsmaxScale and refined by least squares, with the least
// sum of importance[i] * (weights[i] - code * scale)^2. `importance` may be null (all 1). Never
// worse than AbsmaxScale. n <= 4096.
float SearchScale(const float* weights, const float* importance, int64_t n, int bits);

// Nearest code for a scale, ties to even, clamped.
int32_t EncodeInt(float value, float scale, int bits);

// Packs `n` codes into 32-bit words, the first code in the lowest bits, each offset by 2^(bits-1);
// a last word that is not full has zeros above. `words` has ceil(n * bits / 32) entries.
void PackCodes(const int8_t* codes, int64_t n, int bits, uint32_t* words);

}  // namespace inhouse::engine
