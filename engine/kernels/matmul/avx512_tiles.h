// How a product is cut into tiles, the same for all kinds of weights: chunks of columns, strips of
// rows, tiles of a strip; and how the tiles fetch what comes next.
//
// A kind of tile has kMax, and Run<kRows>(const Tile&) for 1..kMax rows.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"
#include "engine/kernels/matmul/matmul.h"

namespace inhouse::engine {
namespace {

constexpr int64_t CeilDiv(int64_t a, int64_t b) { return (a + b - 1) / b; }

// What a tile fetches while it computes: `step` bytes each time, from `at` on.
struct Ahead {
  const std::byte* at;
  int64_t step;

  INHOUSE_INLINE void Fetch() {
    for (int64_t i = 0; i < step; i += 64) Prefetch(at + i);
    at += step;
  }
  // The same for a step of at most 128 bytes.
  INHOUSE_INLINE void FetchTwo() {
    Prefetch(at);
    Prefetch(at + step - 64);
    at += step;
  }
};

// Some rows of a strip, times some steps (or groups, or units: the kind's) of a panel.
struct Tile {
  const std::byte* w;
  int64_t steps;
  const uint32_t* x;  // the first row of the tile in the first step
  int64_t strip;      // rows of the strip: words between a word of x and the next
  float* y;           // [rows][ldy]
  int64_t ldy;
  RowMask mask;
  bool first;   // start from zero, else from y
  Ahead ahead;  // of the panel
};

template <typename Kind>
struct TileTable {
  void (*of[static_cast<size_t>(Kind::kMax + 1)])(const Tile&);
  constexpr TileTable() : of{} { Fill<1>(); }
  template <int kRows>
  constexpr void Fill() {
    of[kRows] = Kind::template Run<kRows>;
    if constexpr (kRows < Kind::kMax) Fill<kRows + 1>();
  }
};
template <typename Kind>
constexpr TileTable<Kind> kTiles{};

// Some columns of a panel.
struct PanelChunk {
  const std::byte* w;  // as the tiles read it
  int64_t steps;
  int64_t x_words;        // of each row of x, before the chunk
  const std::byte* next;  // where the next chunk lies: behind the last one of a panel, as a rule,
                          // the panel that is next
  int64_t next_bytes;     // of it
  int64_t times;          // that a tile fetches
};

// All of a panel in one tile, for up to Kind::kMax rows. `fetched`: bytes of each time.
template <typename Kind>
inline void RunWhole(const PanelProduct& p, int64_t steps, int64_t fetched) {
  kTiles<Kind>.of[p.m]({.w = p.panel,
                        .steps = steps,
                        .x = reinterpret_cast<const uint32_t*>(p.x),
                        .strip = p.m,
                        .y = p.y,
                        .ldy = p.ldy,
                        .mask = MaskOf(p.n_rows),
                        .first = true,
                        .ahead = {p.panel + kDirectAhead, fetched}});
}

// A chunk for all rows, in tiles of nearly the same size. While it is computed, its first tiles
// fetch the next one in equal shares: it is on its way from memory all the time, not in a burst.
template <typename Kind>
inline void RunTiles(const PanelProduct& p, const PanelChunk& chunk, int64_t strip_bytes) {
  constexpr int64_t kFetching = 8;
  const int64_t at_least = CeilDiv(p.m, Kind::kMax);  // tiles
  int64_t fetching = at_least < kFetching ? at_least : kFetching;
  Ahead ahead{chunk.next, CeilDiv(chunk.next_bytes, chunk.times * fetching)};
  for (int64_t m0 = 0; m0 < p.m; m0 += kStripRows) {
    const int64_t strip = p.m - m0 < kStripRows ? p.m - m0 : kStripRows;
    const auto* x = reinterpret_cast<const uint32_t*>(p.x + m0 / kStripRows * strip_bytes) +
                    chunk.x_words * strip;
    const int64_t tiles = CeilDiv(strip, Kind::kMax);
    for (int64_t i = 0, row = 0; i < tiles; ++i) {
      const int64_t rows = strip / tiles + (i < strip % tiles ? 1 : 0);
      if (fetching-- == 0) ahead.step = 0;
      kTiles<Kind>.of[rows]({.w = chunk.w,
                             .steps = chunk.steps,
                             .x = x + row,
                             .strip = strip,
                             .y = p.y + (m0 + row) * p.ldy,
                             .ldy = p.ldy,
                             .mask = MaskOf(p.n_rows),
                             .first = chunk.x_words == 0,
                             .ahead = ahead});
      ahead.at += chunk.times * ahead.step;
      row += rows;
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
