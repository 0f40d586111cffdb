// Attention in vectors of V (elementwise/vector_*.h): one source for every fast level and type of
// pages.
//
// Both products of a page, scores = q K and out += P V, are the same tile: R rows times C vectors
// of accumulators, each fed one k-step at a time, so that every load of the page serves R rows. A
// row is a query head: the heads of a GQA group and the tokens of a chunk share one page.
//
// Determinism: an element of `scores` or `out` is one chain of fused multiply-adds along head_dim
// or along the tokens, whatever tile it stands in, and the softmax of a row looks at that row
// alone. Tokens that a row does not see are never multiplied in: their memory may hold anything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>

#include "engine/kernels/attention/attention.h"
#include "engine/kernels/attention/fast_store.h"
#include "engine/kernels/elementwise/stored_types.h"

namespace inhouse::engine {

template <typename V, typename Stored, DType kDType>
struct FastAttention {
  using Reg = typename V::Reg;
  static constexpr int kLanes = V::kLanes;
  static constexpr int kRowsMax = 6;
  // A block begins with the scales of its tokens. They are applied to sums: a score is multiplied
  // by its key's scale, a weight by its value's.
  static constexpr bool kScaled = FastKvStore<V, Stored, kDType>::kScaled;
  static constexpr int64_t kScaleBytes = FastKvStore<V, Stored, kDType>::kScaleBytes;
  // Rows that are scored before their values are added: their weights stay in L1 beside the page.
  static constexpr int64_t kRowBlock = 4 * kRowsMax;
  static constexpr float kMinusInfinity = -std::numeric_limits<float>::infinity();

  template <int N>
  using Row = Reg[static_cast<size_t>(N)];
  template <int R, int C>
  using Tile = Reg[static_cast<size_t>(R)][static_cast<size_t>(C)];

  // Accumulator vectors of a tile with R rows: all registers but those for a, b and a spare.
  static constexpr int Columns(int rows) {
    const int budget = kLanes == 8 ? 12 : 24;  // AVX2 has 16 registers, the others 32
    const int fit = budget / rows;
    return fit >= 8 ? 8 : fit >= 4 ? 4 : fit >= 2 ? 2 : 1;
  }

  // acc[r][c] += a[r][i] b[i][c] for i = 0, ..., n - 1. `a` and `b` stand at row 0, i = 0. With
  // `kFetch`, each step also fetches as many bytes from `ahead` on as it reads of b: the hardware's
  // prefetchers stop at the end of every 4 KiB, and the sums cannot hide that.
  template <int R, int C, bool kFetch>
  [[gnu::always_inline]] static void Accumulate(const float* a, int64_t lda, const Stored* b,
                                                int64_t ldb, int64_t n, const std::byte* ahead,
                                                Tile<R, C>& acc) {
    constexpr int64_t kStepBytes = int64_t{C} * kLanes * int64_t{sizeof(Stored)};
    for (int64_t i = 0; i < n; ++i) {
      if constexpr (kFetch) {
        for (int64_t line = 0; line < kStepBytes; line += 64) {
          __builtin_prefetch(ahead + i * kStepBytes + line);
        }
      }
      const Stored* row = b + i * ldb;
      if constexpr (R < C) {  // fewer registers hold all of a than all of b
        Row<R> x;
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) x[r] = V::Set(a[r * lda + i]);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          const Reg y = V::Load(row + c * kLanes);
#pragma GCC unroll 8
          for (int r = 0; r < R; ++r) acc[r][c] = V::Fma(x[r], y, acc[r][c]);
        }
      } else {
        Row<C> y;
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) y[c] = V::Load(row + c * kLanes);
#pragma GCC unroll 8
        for (int r = 0; r < R; ++r) {
          const Reg x = V::Set(a[r * lda + i]);
#pragma GCC unroll 8
          for (int c = 0; c < C; ++c) acc[r][c] = V::Fma(x, y[c], acc[r][c]);
        }
      }
    }
  }

  static const Stored* Codes(const std::byte* block) {
    return reinterpret_cast<const Stored*>(block + kScaleBytes);
  }
  // Scales of kLanes tokens from `token` on, times what V::Load leaves out.
  static Reg Scales(const std::byte* block, int token) {
    return V::Mul(V::Load(reinterpret_cast<const float*>(block) + token), V::Set(kE4M3Load));
  }

  // Scores of R rows against all tokens of the page that one of them sees.
  template <int R, bool kFetch>
  static void ScoreRows(const AttentionBlock& block, int64_t row, int visible_max, float* scores) {
    constexpr int kPageVectors = kPageTokens / kLanes;
    constexpr int C = Columns(R) < kPageVectors ? Columns(R) : kPageVectors;
    const Stored* keys = Codes(block.k);
    const float* q = block.q + row * block.ldq;
    for (int t = 0; t < visible_max; t += C * kLanes) {
      Tile<R, C> acc;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[r][c] = V::Set(0);
      }
      Accumulate<R, C, kFetch>(q, block.ldq, keys + t, kPageTokens, block.head_dim,
                               block.v + t * block.head_dim * int64_t{sizeof(Stored)}, acc);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          if constexpr (kScaled) acc[r][c] = V::Mul(acc[r][c], Scales(block.k, t + c * kLanes));
          V::Store(scores + r * kPageTokens + t + c * kLanes, acc[r][c]);
        }
      }
    }
  }

  // GCC 12 makes a better loop of this where it is a function of its own: a prompt's attention
  // takes 7 to 9 % less time (Zen 5, AVX-512). With scales it makes worse ones of what is left
  // inline (decoding over E4M3 takes 12 % more), so those stay together.
  template <int R>
  [[gnu::noinline]] static void ScoreRowsApart(const AttentionBlock& block, int64_t row,
                                               int visible_max, float* scores) {
    ScoreRows<R, false>(block, row, visible_max, scores);
  }

  // Turns the scores of one row into weights, zero from `visible` on, and applies the values'
  // scales. Returns the factor that brings what the row has summed so far to the new maximum.
  static float SoftMaxRow(float* scores, int visible, const std::byte* values,
                          AttentionState& state) {
    constexpr int kVectors = kPageTokens / kLanes;
    Row<kVectors> score;
    Reg max = V::Set(kMinusInfinity);
#pragma GCC unroll 8
    for (int c = 0; c < kVectors; ++c) {
      score[c] = V::Load(scores + c * kLanes);
      if (visible < kPageTokens) {
        score[c] = V::KeepFirst(score[c], visible - c * kLanes, kMinusInfinity);
      }
      max = V::Max(score[c], max);
    }
    const float page_max = V::ReduceMax(max);
    const float new_max = page_max > state.max ? page_max : state.max;
    // While every score is -inf any finite base serves: the weights are 2^-inf = 0, not NaN.
    const float base = new_max == kMinusInfinity ? 0.0F : new_max;
    Reg sum = V::Set(0);
#pragma GCC unroll 8
    for (int c = 0; c < kVectors; ++c) {
      Reg weight = V::Exp2(V::Sub(score[c], V::Set(base)));
      sum = V::Add(sum, weight);
      if constexpr (kScaled) weight = V::Mul(weight, Scales(values, c * kLanes));
      V::Store(scores + c * kLanes, weight);
    }
    float correction = 1.0F;
    if (state.max != base) {
      float lanes[size_t{V::kLanes}];
      V::Store(lanes, V::Exp2(V::Set(state.max - base)));
      correction = lanes[0];
    }
    state.max = new_max;
    state.sum = state.sum * correction + V::ReduceAdd(sum);
    return correction;
  }

  // One tile of out: C vectors of R rows from column d on. All rows see the tokens before `common`;
  // each row then goes on alone to its own last token.
  template <int R, int C, bool kFetch>
  static void ValueTile(const AttentionBlock& block, int64_t row, int64_t d, int common,
                        const float* weights, const float* corrections) {
    const Stored* values = Codes(block.v) + d;
    float* out = block.out + row * block.ldout + d;
    Tile<R, C> acc;
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      const Reg correction = V::Set(corrections[r]);
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) {
        acc[r][c] = V::Mul(V::Load(out + r * block.ldout + c * kLanes), correction);
      }
    }
    const std::byte* ahead = nullptr;
    if constexpr (kFetch) ahead = block.next + d * kPageTokens * int64_t{sizeof(Stored)};
    Accumulate<R, C, kFetch>(weights, kPageTokens, values, block.head_dim, common, ahead, acc);
#pragma GCC unroll 8
    for (int r = 0; r < R; ++r) {
      for (int64_t t = common; t < block.visible[row + r]; ++t) {
        const Reg x = V::Set(weights[r * kPageTokens + t]);
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) {
          acc[r][c] = V::Fma(x, V::Load(values + t * block.head_dim + c * kLanes), acc[r][c]);
        }
      }
#pragma GCC unroll 8
      for (int c = 0; c < C; ++c) V::Store(out + r * block.ldout + c * kLanes, acc[r][c]);
    }
  }

  // The last head_dim % kLanes columns of one row.
  static void ValueTail(const AttentionBlock& block, int64_t row, int64_t d, const float* weights,
                        float correction) {
    const Stored* values = Codes(block.v) + d;
    float* out = block.out + row * block.ldout + d;
    const int64_t n = block.head_dim - d;
    Reg acc = V::Mul(V::LoadN(out, n), V::Set(correction));
    for (int64_t t = 0; t < block.visible[row]; ++t) {
      acc = V::Fma(V::Set(weights[t]), V::LoadN(values + t * block.head_dim, n), acc);
    }
    V::StoreN(out, acc, n);
  }

  // Columns [d, head_dim) of R rows, the widest tiles first.
  template <int R, int C, bool kFetch>
  static void ValueColumns(const AttentionBlock& block, int64_t row, int64_t d, int common,
                           const float* weights, const float* corrections) {
    for (; d + C * kLanes <= block.head_dim; d += C * kLanes) {
      ValueTile<R, C, kFetch>(block, row, d, common, weights, corrections);
    }
    if constexpr (C > 1) {
      ValueColumns<R, C / 2, kFetch>(block, row, d, common, weights, corrections);
    } else if (d < block.head_dim) {
      for (int r = 0; r < R; ++r) {
        ValueTail(block, row + r, d, weights + r * kPageTokens, corrections[r]);
      }
    }
  }

  // Calls f.operator()<rows>(), 1 <= rows <= R.
  template <int R, typename F>
  static void Group(int64_t rows, F f) {
    if constexpr (R > 0) {
      if (rows == R) {
        f.template operator()<R>();
      } else {
        Group<R - 1>(rows, f);
      }
    }
  }

  static int VisibleMax(const int32_t* visible, int64_t rows) {
    int max = 0;
    for (int64_t r = 0; r < rows; ++r) max = visible[r] > max ? visible[r] : max;
    return max;
  }
  static int VisibleMin(const int32_t* visible, int64_t rows) {
    int min = kPageTokens;
    for (int64_t r = 0; r < rows; ++r) min = visible[r] < min ? visible[r] : min;
    return min;
  }

  // Rows of a tile: as many as fit, and such that the last tile is not much smaller than the
  // others.
  static int64_t TileRows(int64_t rows) {
    const int64_t tiles = (rows + kRowsMax - 1) / kRowsMax;
    return (rows + tiles - 1) / tiles;
  }

  template <int R, bool kFetch>
  static void ValueRows(const AttentionBlock& block, int64_t row, const float* corrections) {
    ValueColumns<R, Columns(R), kFetch>(block, row, 0, VisibleMin(block.visible + row, R),
                                        block.scratch + row * kPageTokens, corrections);
  }

  // A run of rows that all see something. The first tile fetches ahead for all.
  static void AddRows(const AttentionBlock& block, int64_t begin, int64_t end) {
    float corrections[size_t{kRowBlock}];
    const int64_t tile = TileRows(end - begin);
    for (int64_t row = begin; row < end; row += tile) {
      const int64_t n = end - row < tile ? end - row : tile;
      float* scores = block.scratch + row * kPageTokens;
      const int visible_max = VisibleMax(block.visible + row, n);
      const bool fetch = row == 0 && block.next != nullptr;
      Group<kRowsMax>(n, [&]<int R>() {
        if (fetch) {
          ScoreRows<R, true>(block, row, visible_max, scores);
        } else if constexpr (kScaled) {
          ScoreRows<R, false>(block, row, visible_max, scores);
        } else {
          ScoreRowsApart<R>(block, row, visible_max, scores);
        }
      });
      for (int64_t r = 0; r < n; ++r) {
        corrections[row - begin + r] = SoftMaxRow(scores + r * kPageTokens, block.visible[row + r],
                                                  block.v, block.state[row + r]);
      }
    }
    for (int64_t row = begin; row < end; row += tile) {
      const bool fetch = row == 0 && block.next != nullptr;
      Group<kRowsMax>(end - row < tile ? end - row : tile, [&]<int R>() {
        if (fetch) {
          ValueRows<R, true>(block, row, corrections + (row - begin));
        } else {
          ValueRows<R, false>(block, row, corrections + (row - begin));
        }
      });
    }
  }

  static void AddPage(const AttentionBlock& block) {
    int64_t row = 0;
    while (row < block.n_queries) {
      if (block.visible[row] == 0) {  // its state and sums stay as they are
        ++row;
        continue;
      }
      const int64_t begin = row;
      while (row < block.n_queries && block.visible[row] > 0 && row - begin < kRowBlock) ++row;
      AddRows(block, begin, row);
    }
  }

  static constexpr AttentionKernel kTable = {V::kName, kDType,
                                             FastKvStore<V, Stored, kDType>::Function(), AddPage};
};

}  // namespace inhouse::engine
