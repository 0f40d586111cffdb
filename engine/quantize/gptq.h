// GPTQ: rounds the columns of a matrix one after another, and lets each column make up for the
// errors of those before it, weighed by what the layer sees (Frantar et al., arXiv 2210.17323).
#pragma once

#include <vector>

#include "absl/status/status.h"
#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"
#include "engine/quantize/calibration.h"
#include "engine/quantize/encode.h"
#include "engine/quantize/plan.h"

namespace inhouse::engine {

// The lower triangular T with T^T T = H + damping, H = moments: so that the error of a row w of
// weights, quantized to q, is |T (w - q)|^2 = sum over j of (sum over i <= j of T[j][i] (w -
// q)[i])^2. [columns][columns], zero above the diagonal. A column that the text never used gets T =
// 1 there.
std::vector<float> ErrorFactor(const Moments& moments, const KernelTable& kernels,
                               base::ThreadTeam& team);

// A matrix [rows][columns] as codes and scales (of groups of columns) with a small |T (w - q)|^2.
struct GptqResult {
  std::vector<int8_t> codes;
  std::vector<float> scales;
};
GptqResult RunGptq(const std::vector<float>& weights, int64_t rows,
                   const std::vector<float>& factor, int64_t columns, int bits, int64_t group,
                   const KernelTable& kernels, base::ThreadTeam& team);

// The same as E4M3 codes with the scales of the plain format, amax / 448 of each block: [rows /
// block][columns / block], cut off at the edges. Codes round to a nearest value that stands further
// from the weight, and the product is nearer.
struct Fp8Result {
  std::vector<uint8_t> codes;
  std::vector<float> scales;
};
Fp8Result RunGptqFp8(const std::vector<float>& weights, int64_t rows,
                     const std::vector<float>& factor, int64_t columns, int64_t block,
                     const KernelTable& kernels, base::ThreadTeam& team);

// Reads a kInt or kFp8 tensor whole, runs GPTQ and appends it. The memory is that of two copies of
// the matrix in float32 and of the moments.
absl::Status EncodeGptq(const EncodeJob& job, const KernelTable& kernels,
                        const PlannedTensor& tensor, const Moments& moments);

}  // namespace inhouse::engine
