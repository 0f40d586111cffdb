// Chooses tiles for a product over a group format (avx512_groups.h) and blocks it for the caches.
#pragma once

#include "engine/kernels/matmul/avx512_groups.h"

namespace inhouse::engine {
namespace {

using GroupTileFunction = void (*)(const GroupTile&);

constexpr int kTileRows = 6;         // 6 x 2 sums and 6 x 2 totals: 24 of 32 registers
constexpr int64_t kChunkGroups = 8;  // expanded at a time: at most 12 KiB beside 8 KiB of x
constexpr int64_t kGroupStripBytes = int64_t{kGroupWords} * kStripRows * 4;

template <typename T, int kPrefetchBytes>
struct ExpandedTiles {
  GroupTileFunction of[kTileRows + 1];
  constexpr ExpandedTiles()
      : of{nullptr,
           RunExpanded<T, 1, kPrefetchBytes>,
           RunExpanded<T, 2, kPrefetchBytes>,
           RunExpanded<T, 3, kPrefetchBytes>,
           RunExpanded<T, 4, kPrefetchBytes>,
           RunExpanded<T, 5, kPrefetchBytes>,
           RunExpanded<T, 6, kPrefetchBytes>} {}
};

template <typename F>
struct GroupProduct {
  // More rows in registers would spill: sums are kept per plane and per half.
  static constexpr int kDirectRows = F::kHalves == 2 ? 2 : 4;
  static constexpr bool kInPlace = F::kUsedInPlace;
  using Tile = typename F::Tile;

  static int64_t PanelBytes(int64_t k) {
    return RoundUp(k / kGroup / F::kBlockGroups * F::kBlockBytes, 64);
  }
  static int64_t StripBytes(int64_t k) { return RoundUp(k / kGroup * kGroupStripBytes, 64); }
  static int64_t ScratchBytes(int64_t /*k*/) {
    return kInPlace ? 0 : kChunkGroups * Tile::kGroupBytes;
  }

  static void PackPanel(const std::byte* const* rows, int n_rows, int64_t k, std::byte* panel) {
    __builtin_memset(panel, 0, static_cast<size_t>(PanelBytes(k)));
    // Some blocks of one row before the next row: the sources are 32 streams.
    constexpr int64_t kRun = 8 / F::kBlockGroups;
    const int64_t blocks = k / kGroup / F::kBlockGroups;
    for (int64_t begin = 0; begin < blocks; begin += kRun) {
      const int64_t end = begin + kRun < blocks ? begin + kRun : blocks;
      for (int r = 0; r < n_rows; ++r) {
        for (int64_t b = begin; b < end; ++b) {
          F::Pack(rows[r] + b * F::kSourceBytes, r, panel + b * F::kBlockBytes);
        }
      }
    }
  }

  static void PackStrip(const float* x, int64_t ldx, int64_t m0, int64_t m1, int64_t k,
                        std::byte* packed_x) {
    std::byte* strip = packed_x + m0 / kStripRows * StripBytes(k);
    PackStripI16(x, ldx, m0, m1, k, reinterpret_cast<uint32_t*>(strip));
  }

  static void Run(const PanelProduct& p) {
    const int64_t groups = p.k / kGroup;
    if (p.m <= kDirectRows) {
      constexpr GroupTileFunction kDirect[5] = {nullptr,
                                                RunDirect<F, 1>,
                                                RunDirect<F, 2>,
                                                RunDirect < F,
                                                kDirectRows == 4 ? 3 : 1 >
                                                , RunDirect < F, kDirectRows == 4 ? 4 : 1 > };
      kDirect[p.m]({p.panel, groups, reinterpret_cast<const uint32_t*>(p.x), p.m, p.y, p.ldy,
                    MaskOf(p.n_rows), true, nullptr});
      return;
    }
    for (int64_t g = 0; g < groups; g += kChunkGroups) {
      RunChunk(p, g, groups - g < kChunkGroups ? groups - g : kChunkGroups,
               groups - g > kChunkGroups);
    }
  }

 private:
  static constexpr int kPrefetchBytes = F::kBlockBytes / F::kBlockGroups;

  static void Expand(const std::byte* panel, int64_t groups, std::byte* out) {
    for (int64_t i = 0; i < groups; ++i, out += Tile::kGroupBytes) {
      const std::byte* block = panel + i / F::kBlockGroups * F::kBlockBytes;
      const int g = static_cast<int>(i % F::kBlockGroups);
      Unroll<F::kHalves>([&](auto h) INHOUSE_INLINE_LAMBDA {
        __m512 scale[2];
        __m512 min[2];
        F::Scales(block, g, h, scale, min);
        Unroll<2>([&](auto r) INHOUSE_INLINE_LAMBDA {
          _mm512_store_ps(out + 128 * h + 64 * r, scale[r]);
          if constexpr (F::kMin) _mm512_store_ps(out + 128 * (F::kHalves + h) + 64 * r, min[r]);
        });
      });
      Unroll<4>([&](auto q) INHOUSE_INLINE_LAMBDA {
        __m512i w[4];
        F::Codes(block, g, q, w);
        Unroll<4>([&](auto j) INHOUSE_INLINE_LAMBDA {
          if constexpr (!F::kMin && F::kOffset != 128) {
            w[j] = _mm512_add_epi8(w[j], _mm512_set1_epi8(128 - F::kOffset));
          }
          constexpr int kAt =
              (decltype(q)::value + decltype(j)::value / 2 * 4) * 128 + decltype(j)::value % 2 * 64;
          _mm512_store_si512(out + Tile::kCodesAt + kAt, w[j]);
        });
      });
    }
  }

  static void RunChunk(const PanelProduct& p, int64_t g, int64_t count, bool more) {
    static constexpr ExpandedTiles<Tile, kPrefetchBytes> kTiles;
    const std::byte* w = p.panel + g / F::kBlockGroups * F::kBlockBytes;
    const std::byte* next = more ? w + count * kPrefetchBytes : nullptr;
    if constexpr (!kInPlace) {
      Expand(w, count, p.scratch);
      w = p.scratch;
    }
    for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
      const int64_t rows = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
      const auto* strip =
          reinterpret_cast<const uint32_t*>(p.x + m0 / kStripRows * StripBytes(p.k)) +
          g * kGroupWords * rows;
      const int64_t tiles = (rows + kTileRows - 1) / kTileRows;
      for (int64_t t = 0; t < tiles; ++t) {
        const int64_t begin = rows * t / tiles;
        const int64_t end = rows * (t + 1) / tiles;
        kTiles.of[end - begin]({w, count, strip + begin, rows, p.y + (m0 + begin) * p.ldy, p.ldy,
                                MaskOf(p.n_rows), g == 0, m0 + t == 0 ? next : nullptr});
      }
    }
  }
};

}  // namespace
}  // namespace inhouse::engine
