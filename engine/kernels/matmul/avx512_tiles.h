// How the rows of a product are cut into tiles, and how the tiles fetch what comes next.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

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

// The next chunk of a panel is on its way from memory while this one is used: it is fetched by all
// tiles in equal shares, or by the first few. Behind the last chunk of a panel lies, as a rule, the
// panel that is next.
class FetchShare {
 public:
  // `bytes` from `at`; each tile fetches `times` times.
  FetchShare(const std::byte* at, int64_t bytes, int64_t times, int64_t tiles)
      : left_(tiles < kTilesMax ? tiles : kTilesMax),
        times_(times),
        ahead_{at, CeilDiv(bytes, times * left_)} {}

  // For the tile that is next.
  Ahead Next() {
    if (left_-- == 0) ahead_.step = 0;
    const Ahead share = ahead_;
    ahead_.at += times_ * ahead_.step;
    return share;
  }

 private:
  static constexpr int64_t kTilesMax = 8;
  int64_t left_;
  int64_t times_;
  Ahead ahead_;
};

// Tiles of nearly the same size for the rows of a strip.
struct TileCut {
  int64_t tiles, rows;
  constexpr TileCut(int64_t strip_rows, int64_t max)
      : tiles(CeilDiv(strip_rows, max)), rows(strip_rows) {}
  [[nodiscard]] constexpr int64_t begin(int64_t i) const {
    return rows / tiles * i + (i < rows % tiles ? i : rows % tiles);
  }
};

}  // namespace
}  // namespace inhouse::engine
