// Products of float32 matrices by the engine's own kernels, shared by a team: what calibration and
// GPTQ spend their time on.
#pragma once

#include <cstdint>

#include "base/thread_team.h"
#include "engine/kernels/kernel_table.h"

namespace inhouse::engine {

// `rows` rows of k floats, `ld` apart.
struct MatrixView {
  const float* data;
  int64_t rows;
  int64_t ld;
};

// c[i][j] += factor * sum over t of a[i][t] * b[j][t], t < k. An element is computed in the same
// order whatever the number of threads. Memory: a packed copy of `a`, and a panel of `b` for each
// member.
void AddProduct(const KernelTable& kernels, base::ThreadTeam& team, const MatrixView& a,
                const MatrixView& b, int64_t k, float factor, float* c, int64_t ldc);

}  // namespace inhouse::engine
