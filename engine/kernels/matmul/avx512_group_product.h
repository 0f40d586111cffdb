// Chooses tiles for a product over a group format (avx512_groups.h) and blocks it for the caches.
#pragma once

#include "engine/kernels/matmul/avx512_groups.h"
#include "engine/kernels/matmul/avx512_pack.h"

namespace inhouse::engine {
namespace {

using GroupTileFunction = void (*)(const GroupTile&);

constexpr int kGroup = 32;
// Expanded at a time, into the second-level cache: fewer would load and store totals more often
// than is saved.
constexpr int kChunkGroups = 32;

// By the number of rows, 1..kMax.
template <typename F, typename L, int kMax>
struct DirectTiles {
  GroupTileFunction of[static_cast<size_t>(kMax + 1)];
  constexpr DirectTiles() : of{} { Fill<1>(); }
  template <int kRows>
  constexpr void Fill() {
    of[kRows] = RunDirect<F, L, kRows>;
    if constexpr (kRows < kMax) Fill<kRows + 1>();
  }
};

template <typename T, typename L, int kPrefetchBytes>
struct ExpandedTiles {
  GroupTileFunction of[kStripRows + 1];
  constexpr ExpandedTiles() : of{} { Fill<1>(); }
  template <int kRows>
  constexpr void Fill() {
    of[kRows] = RunExpanded<T, L, static_cast<int>(PaddedRows(kRows)), kPrefetchBytes>;
    if constexpr (kRows < kStripRows) Fill<kRows + 1>();
  }
};

// F with activations of kPlanes int8 planes.
template <typename F, int kPlanes>
struct GroupProduct {
  using L = CodeLayout<kPlanes, kGroup * F::kUnitGroups>;
  using Tile = typename F::Tile;
  // More rows in registers would spill: sums are kept per plane and per half.
  static constexpr int kDirectRows = 4 / F::kHalves;
  static constexpr bool kInPlace = F::kUsedInPlace;
  static constexpr int64_t kChunkUnits = kChunkGroups / F::kUnitGroups;
  // Of the next chunk for each unit of this one.
  static constexpr int kPrefetchBytes = F::kBlockBytes / (F::kBlockGroups / F::kUnitGroups);

  static int64_t Blocks(int64_t k) {
    constexpr int64_t kColumns = int64_t{kGroup} * F::kBlockGroups;
    return (k + kColumns - 1) / kColumns;
  }
  static int64_t Units(int64_t k) { return Blocks(k) * (F::kBlockGroups / F::kUnitGroups); }
  static int64_t PanelBytes(int64_t k) { return RoundUp(Blocks(k) * F::kBlockBytes, 64); }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return kInPlace ? 0 : kChunkUnits * Tile::kUnitBytes;
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
    if (p.m <= kDirectRows) {
      static constexpr DirectTiles<F, L, kDirectRows> kTiles;
      kTiles.of[p.m]({p.panel, units, reinterpret_cast<const uint32_t*>(p.x), p.m, p.y, p.ldy,
                      MaskOf(p.n_rows), true, nullptr, nullptr});
      return;
    }
    for (int64_t u = 0; u < units; u += kChunkUnits) {
      RunChunk(p, u, units - u < kChunkUnits ? units - u : kChunkUnits, units - u > kChunkUnits);
    }
  }

 private:
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
    for (int64_t i = 0; i < units; ++i, out += Tile::kUnitBytes) {
      constexpr int kBlockUnits = F::kBlockGroups / F::kUnitGroups;
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
        ExpandGroup(block, g + s, out + Tile::kCodesAt + 1024 * s);
      }
    }
  }

  static void RunChunk(const PanelProduct& p, int64_t u, int64_t count, bool more) {
    static constexpr ExpandedTiles<Tile, L, kPrefetchBytes> kTiles;
    constexpr int kBlockUnits = F::kBlockGroups / F::kUnitGroups;
    const std::byte* w = p.panel + u / kBlockUnits * F::kBlockBytes;
    const std::byte* next = more ? w + count * kPrefetchBytes : nullptr;
    if constexpr (!kInPlace) {
      Expand(w, count, p.scratch);
      w = p.scratch;
    }
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      const std::byte* strip =
          p.x + m0 / kStripRows * L::StripBytes(p.k) + u * L::kWords * PaddedRows(rows) * 4;
      const std::byte* x_next = m0 + 2 * kStripRows <= p.m ? strip + L::StripBytes(p.k) : nullptr;
      kTiles.of[rows]({w, count, reinterpret_cast<const uint32_t*>(strip), rows, p.y + m0 * p.ldy,
                       p.ldy, MaskOf(p.n_rows), u == 0, m0 == 0 ? next : nullptr, x_next});
    }
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
