#include "engine/ops/rows.h"

#include "base/check.h"

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

void Embed(const OpContext& context, const StoredTensor& table, std::span<const int32_t> ids,
           float* y) {
  const TensorView& view = table.view;
  const int64_t columns = view.columns();
  const auto bytes = static_cast<size_t>(RowBytes(view.dtype, columns));
  INHOUSE_CHECK(bytes <= context.scratch.member_bytes(), "the scratch was sized for a row");
  std::byte* copy = context.scratch.member(context.member.index());
  const auto [begin, end] = context.member.Share(static_cast<int64_t>(ids.size()));
  for (int64_t r = begin; r < end; ++r) {
    const auto id = static_cast<size_t>(ids[static_cast<size_t>(r)]);
    const bool read =
        table.file != nullptr && table.file->Read(table.file_offset + id * bytes, {copy, bytes});
    const std::byte* row = read ? copy : view.row(static_cast<int64_t>(id));
    DequantizeRow(view.dtype, row, columns, y + r * columns);
  }
  context.member.Barrier();
}

}  // namespace inhouse::engine
