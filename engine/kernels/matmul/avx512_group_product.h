// Chooses tiles for a product over a group format (avx512_groups.h) and blocks it for the caches.
#pragma once

#include "engine/kernels/matmul/avx512_groups.h"
#include "engine/kernels/matmul/avx512_pack.h"

namespace inhouse::engine {
namespace {

constexpr int kGroup = 32;
// Groups that are computed at a time for all rows: a chunk of the panel and of a strip stay in the
// first-level cache.
template <int kPlanes>
constexpr int kChunkGroups = kPlanes == 1 ? 24 : 16;

// F with activations of kPlanes int8 planes.
template <typename F, int kPlanes>
struct GroupProduct {
  using L = CodeLayout<kPlanes, kGroup * F::kUnitGroups>;
  using Copy = Expanded<F::kHalves, F::kMin, F::kUnitGroups>;
  static constexpr int64_t kGroupBytes = F::kBlockBytes / F::kBlockGroups;
  static constexpr int64_t kChunkUnits = kChunkGroups<kPlanes> / F::kUnitGroups;

  static int64_t Blocks(int64_t k) {
    constexpr int64_t kColumns = int64_t{kGroup} * F::kBlockGroups;
    return (k + kColumns - 1) / kColumns;
  }
  static int64_t Units(int64_t k) { return Blocks(k) * (F::kBlockGroups / F::kUnitGroups); }
  static int64_t PanelBytes(int64_t k) { return RoundUp(Blocks(k) * F::kBlockBytes, 64); }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return F::kExpandFrom == kNever ? 0 : kChunkUnits * Copy::kBlockBytes;
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    const int64_t blocks = Blocks(k);
    for (int64_t b = 0; b < blocks; ++b) {
      const BlockRows block(rows, n_rows, b * F::kSourceBytes);
      F::PackBlock(block, panel + b * F::kBlockBytes);
      PrefetchRows(block, F::kSourceBytes);
    }
    PutsAreDone();
  }

  static void Run(const PanelProduct& p) {
    const int64_t units = Units(p.k);
    if (p.m <= GroupTiles<F, L>::kMax) {
      return RunWhole<GroupTiles<F, L>>(p, units, kGroupBytes);
    }
    for (int64_t u = 0; u < units; u += kChunkUnits) {
      const int64_t count = units - u < kChunkUnits ? units - u : kChunkUnits;
      const std::byte* w = p.panel + u / kBlockUnits * F::kBlockBytes;
      if constexpr (F::kExpandFrom != kNever) {
        if (p.m >= F::kExpandFrom) {
          Expand(w, count, p.scratch);
          RunChunk<Copy>(p, u, count, w, p.scratch);
          continue;
        }
      }
      RunChunk<F>(p, u, count, w, w);
    }
  }

 private:
  static constexpr int kBlockUnits = F::kBlockGroups / F::kUnitGroups;

  static void ExpandGroup(const std::byte* block, int g, std::byte* codes) {
    Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
      __m512i w[4];
      F::Codes(block, g, q, w);
      Unroll<4>([&](auto j) INHOUSE_INLINE_LAMBDA {
        if constexpr (!F::kMin && F::kOffset != 128) {
          w[j] = _mm512_add_epi8(w[j], _mm512_set1_epi8(128 - F::kOffset));
        }
        constexpr int kAt =
            (decltype(q)::value + decltype(j)::value / 2 * 4) * 128 + decltype(j)::value % 2 * 64;
        _mm512_store_si512(codes + kAt, w[j]);
      });
    });
  }

  static void Expand(const std::byte* panel, int64_t units, std::byte* out) {
    for (int64_t i = 0; i < units; ++i, out += Copy::kBlockBytes) {
      const std::byte* block = panel + i / kBlockUnits * F::kBlockBytes;
      const int g = static_cast<int>(i % kBlockUnits) * F::kUnitGroups;
      Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
        __m512 scale[2];
        __m512 min[2];
        F::Scales(block, g, h, scale, min);
        Unroll<2>([&](auto r) INHOUSE_INLINE_LAMBDA {
          _mm512_store_ps(out + 128 * h + 64 * r, scale[r]);
          if constexpr (F::kMin) _mm512_store_ps(out + 128 * (F::kHalves + h) + 64 * r, min[r]);
        });
      });
      for (int s = 0; s < F::kUnitGroups; ++s) {
        ExpandGroup(block, g + s, out + Copy::kCodesAt + 1024 * s);
      }
    }
  }

  // All rows over the units [u, u + count), which lie at `packed` in the panel; `w` are the same as
  // T has them.
  template <typename T>
  static void RunChunk(const PanelProduct& p, int64_t u, int64_t count, const std::byte* packed,
                       const std::byte* w) {
    const int64_t groups = count * F::kUnitGroups;
    RunTiles<GroupTiles<T, L>>(p,
                               {.w = w,
                                .steps = count,
                                .x_words = u * L::kWords,
                                .next = packed + groups * kGroupBytes,
                                .next_bytes = groups * kGroupBytes,
                                .times = groups},
                               L::StripBytes(p.k));
  }
};

// A row of the table.
template <typename F, int kPlanes>
constexpr MatMulKernel GroupKernel(const char* name, DType weights) {
  using Product = GroupProduct<F, kPlanes>;
  using L = typename Product::L;
  constexpr bool kWide = L::kColumns == 128;
  constexpr ActivationLayout kNarrowLayout =
      kPlanes == 2 ? ActivationLayout::kI16Groups32 : ActivationLayout::kI8Groups32;
  constexpr ActivationLayout kWideLayout =
      kPlanes == 2 ? ActivationLayout::kI16Groups128 : ActivationLayout::kI8Groups128;
  return {.name = name,
          .weights = weights,
          .activations = kWide ? kWideLayout : kNarrowLayout,
          .panel_rows = kPanelRows,
          .strip_rows = kStripRows,
          .panel_bytes = Product::PanelBytes,
          .pack_panel = Product::PackPanel,
          .strip_bytes = L::StripBytes,
          .pack_strip = PackStripCodes<L>,
          .scratch_bytes = Product::ScratchBytes,
          .run = Product::Run};
}

}  // namespace
}  // namespace inhouse::engine
