#include "engine/quantize/products.h"

#include <algorithm>
#include <vector>

#include "engine/tensor/arena.h"

namespace inhouse::engine {
namespace {

int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

}  // namespace

void AddProduct(const KernelTable& kernels, base::ThreadTeam& team, const MatrixView& a,
                const MatrixView& b, int64_t k, float factor, float* c, int64_t ldc) {
  if (k == 0 || a.rows == 0 || b.rows == 0) return;
  const MatMulKernel& kernel = *kernels.matmul(DType::kF32);
  const int64_t strips = CeilDiv(a.rows, kernel.strip_rows);
  const int64_t strip_bytes = kernel.strip_bytes(k);
  const int64_t panels = CeilDiv(b.rows, kernel.panel_rows);
  const Arena packed(static_cast<size_t>(strips * strip_bytes));
  const auto panel_bytes = static_cast<size_t>(kernel.panel_bytes(k));
  const auto scratch_bytes = AlignUp(static_cast<size_t>(kernel.scratch_bytes(k)), 64);
  const Arena own((panel_bytes + scratch_bytes) * static_cast<size_t>(team.count()));
  team.Run([&](const base::TeamMember& member) {
    const auto [strip_begin, strip_end] = member.Share(strips);
    for (int64_t s = strip_begin; s < strip_end; ++s) {
      const int64_t m0 = s * kernel.strip_rows;
      kernel.pack_strip(a.data, a.ld, m0, std::min<int64_t>(m0 + kernel.strip_rows, a.rows), a.rows,
                        k, packed.data());
    }
    member.Barrier();
    std::byte* panel =
        own.data() + (panel_bytes + scratch_bytes) * static_cast<size_t>(member.index());
    std::vector<const std::byte*> rows(static_cast<size_t>(kernel.panel_rows));
    std::vector<float> y(static_cast<size_t>(a.rows * kernel.panel_rows));
    const auto [panel_begin, panel_end] = member.Share(panels);
    for (int64_t p = panel_begin; p < panel_end; ++p) {
      const int64_t row0 = p * kernel.panel_rows;
      const auto n = static_cast<int>(std::min<int64_t>(kernel.panel_rows, b.rows - row0));
      for (int i = 0; i < n; ++i) {
        rows[static_cast<size_t>(i)] =
            reinterpret_cast<const std::byte*>(b.data + (row0 + i) * b.ld);
      }
      kernel.pack_panel(rows.data(), n, k, panel);
      kernel.run({.panel = panel,
                  .x = packed.data(),
                  .m = a.rows,
                  .k = k,
                  .n_rows = n,
                  .y = y.data(),
                  .ldy = kernel.panel_rows,
                  .scratch = panel + panel_bytes});
      for (int64_t i = 0; i < a.rows; ++i) {
        float* out = c + i * ldc + row0;
        const float* in = y.data() + i * kernel.panel_rows;
        for (int j = 0; j < n; ++j) out[j] += factor * in[j];
      }
    }
  });
}

}  // namespace inhouse::engine
