// The functions of each level's file; kernel_table.cc puts them together. A level has what the
// levels below it lack.
//
// Their accumulators stand in arrays whose loops must be unrolled: else the arrays stay in memory,
// and what is measured is loads and stores (half of the truth on a core with two pipes).
#pragma once

#include <cstddef>
#include <cstdint>

namespace inhouse::engine {

uint64_t ProbeReadRef(const std::byte* data, int64_t bytes);
int64_t ProbeF32Ref(int64_t rounds);
int64_t ProbeInt8Ref(int64_t rounds);

uint64_t ProbeReadAvx2(const std::byte* data, int64_t bytes);
int64_t ProbeF32Avx2(int64_t rounds);
int64_t ProbeInt8Avx2(int64_t rounds);
int64_t ProbeInt4Avx2(int64_t rounds);
int64_t ProbeInt8AvxVnni(int64_t rounds);

uint64_t ProbeReadAvx512(const std::byte* data, int64_t bytes);
int64_t ProbeF32Avx512(int64_t rounds);
int64_t ProbeInt8Avx512(int64_t rounds);
int64_t ProbeInt4Avx512(int64_t rounds);
int64_t ProbeInt8Avx512Vnni(int64_t rounds);
int64_t ProbeBf16Avx512(int64_t rounds);

uint64_t ProbeReadNeon(const std::byte* data, int64_t bytes);
int64_t ProbeF32Neon(int64_t rounds);
int64_t ProbeInt8Neon(int64_t rounds);
int64_t ProbeInt8NeonDot(int64_t rounds);
int64_t ProbeInt8NeonI8mm(int64_t rounds);
int64_t ProbeBf16NeonI8mm(int64_t rounds);

}  // namespace inhouse::engine
