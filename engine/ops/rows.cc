#include "engine/ops/rows.h"

namespace inhouse::engine {

void RmsNorm(const OpContext& context, const float* x, const std::vector<float>& w, float eps,
             int64_t rows, float* y) {
  const auto n = static_cast<int64_t>(w.size());
  const auto [begin, end] = context.member.Share(rows);
  for (int64_t r = begin; r < end; ++r) {
    context.kernels.elementwise->rms_norm(x + r * n, w.data(), n, eps, y + r * n);
  }
  context.member.Barrier();
}

void RmsNormHeads(const OpContext& context, float* x, int64_t ld, const std::vector<float>& w,
                  float eps, int64_t rows, int heads) {
  const auto n = static_cast<int64_t>(w.size());
  const auto [begin, end] = context.member.Share(rows);
  for (int64_t r = begin; r < end; ++r) {
    for (int head = 0; head < heads; ++head) {
      float* row = x + r * ld + head * n;
      context.kernels.elementwise->rms_norm(row, w.data(), n, eps, row);
    }
  }
}

void SwiGlu(const OpContext& context, float* x, int64_t n, int64_t rows) {
  // Cut along rows and columns: a decode step has one row and still uses every member.
  const auto [begin, end] = context.member.Share(n, 64);
  for (int64_t r = 0; r < rows && begin < end; ++r) {
    float* gate = x + r * 2 * n + begin;
    context.kernels.elementwise->silu_mul(gate, gate + n, end - begin, gate);
  }
  context.member.Barrier();
}

void AddRows(const OpContext& context, float* y, const float* x, int64_t n, int64_t rows) {
  const auto [begin, end] = context.member.Share(rows);
  context.kernels.elementwise->add(y + begin * n, x + begin * n, (end - begin) * n);
}

void Embed(const OpContext& context, const TensorView& table, std::span<const int32_t> ids,
           float* y) {
  const auto [begin, end] = context.member.Share(static_cast<int64_t>(ids.size()));
  for (int64_t r = begin; r < end; ++r) {
    DequantizeRow(table.dtype, table.row(ids[static_cast<size_t>(r)]), table.columns(),
                  y + r * table.columns());
  }
  context.member.Barrier();
}

}  // namespace inhouse::engine
