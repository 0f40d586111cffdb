// Float32 -> FP8 E4M3 in blocks with one scale: DeepSeek's `weight` + `weight_scale_inv`.
#pragma once

#include <cstdint>

namespace inhouse::engine {

// The nearest E4M3 code (OCP OFP8: no infinity, NaN is S.1111.111); ties go to the even code,
// subnormals included. Magnitudes above 448 become 448, NaN becomes 0x7F with its sign.
uint8_t EncodeE4M3(float value);

// The scale of a block of rows x cols values of `weights` [rows][ld].
float Fp8BlockScale(const float* weights, int64_t rows, int64_t cols, int64_t ld);

// Encodes rows x cols values of `weights` [rows][ld] into codes [rows][ld]
// and returns the scale: value ~ code * scale. scale = amax / 448 in float32, as DeepSeek's
// `weight_quant` computes it; 1 for a block of zeros. Values must be finite.
float EncodeFp8Block(const float* weights, int64_t rows, int64_t cols, int64_t ld, uint8_t* codes);

}  // namespace inhouse::engine
