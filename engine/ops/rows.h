// Row-wise ops between the products. Collective; each member takes its share of the rows.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "engine/formats/tensor_table.h"
#include "engine/ops/op_context.h"

namespace inhouse::engine {

// y[r] = RMSNorm(x[r]; w, eps); x and y [rows][n]. Ends with a barrier.
void RmsNorm(const OpContext& context, const float* x, const std::vector<float>& w, float eps,
             int64_t rows, float* y);

// Normalises each of `heads` heads of a row on its own with the same weights [head_dim] (Qwen3's
// q_norm and k_norm). In place, without a barrier.
void RmsNormHeads(const OpContext& context, float* x, int64_t ld, const std::vector<float>& w,
                  float eps, int64_t rows, int heads);

// x[r][0:n] = silu(x[r][0:n]) * x[r][n:2n]; x [rows][2n]. Ends with a barrier.
void SwiGlu(const OpContext& context, float* x, int64_t n, int64_t rows);

// y[r] += x[r]; [rows][n]. Without a barrier: the member adds its Share of the rows, as RmsNorm
// takes them.
void AddRows(const OpContext& context, float* y, const float* x, int64_t n, int64_t rows);

// y[r] = table row ids[r], expanded to float. Ids must be valid. Rows of a file are read; the map
// serves where that fails: touching one row of it may enter 2 MiB, and the process would seem to
// grow by the whole table. Needs a row's bytes of member scratch. Ends with a barrier.
void Embed(const OpContext& context, const StoredTensor& table, std::span<const int32_t> ids,
           float* y);

}  // namespace inhouse::engine
