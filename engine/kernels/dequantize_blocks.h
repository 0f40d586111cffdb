// One GGUF block -> float32. Layouts as in ggml-common.h and PyPI gguf's quants.py; `out` has 32
// elements, or 256 for the K types.
#pragma once

#include <cstddef>
#include <cstdint>

namespace inhouse::engine {

void DequantizeQ8_0(const std::byte* block, float* out);
void DequantizeQ4_0(const std::byte* block, float* out);
void DequantizeQ4_1(const std::byte* block, float* out);
void DequantizeQ5_0(const std::byte* block, float* out);
void DequantizeQ5_1(const std::byte* block, float* out);
void DequantizeQ2_K(const std::byte* block, float* out);
void DequantizeQ3_K(const std::byte* block, float* out);
void DequantizeQ4_K(const std::byte* block, float* out);
void DequantizeQ5_K(const std::byte* block, float* out);
void DequantizeQ6_K(const std::byte* block, float* out);
void DequantizeMXFP4(const std::byte* block, float* out);

}  // namespace inhouse::engine
