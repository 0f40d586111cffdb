// Attention in vectors of V (elementwise/vector_*.h): one source for every fast level.
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

namespace inhouse::engine {

template <typename V, typename Stored, DType kDType>
struct FastAttention {
  using Reg = typename V::Reg;
  static constexpr int kLanes = V::kLanes;
  static constexpr int kRowsMax = 6;
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

  // acc[r][c] += a[r][i] b[i][c] for i = begin, ..., end - 1. `a` and `b` stand at row 0, i = 0.
  template <int R, int C>
  [[gnu::always_inline]] static void Accumulate(const float* a, int64_t lda, const Stored* b,
                                                int64_t ldb, int64_t begin, int64_t end,
                                                Tile<R, C>& acc) {
    for (int64_t i = begin; i < end; ++i) {
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

  // Scores of R rows against all tokens of the page that one of them sees.
  template <int R>
  static void ScoreRows(const AttentionBlock& block, int64_t row, int visible_max, float* scores) {
    constexpr int kPageVectors = kPageTokens / kLanes;
    constexpr int C = Columns(R) < kPageVectors ? Columns(R) : kPageVectors;
    const auto* keys = reinterpret_cast<const Stored*>(block.k);
    const float* q = block.q + row * block.ldq;
    for (int t = 0; t < visible_max; t += C * kLanes) {
      Tile<R, C> acc;
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) acc[r][c] = V::Set(0);
      }
      Accumulate<R, C>(q, block.ldq, keys + t, kPageTokens, 0, block.head_dim, acc);
#pragma GCC unroll 8
      for (int r = 0; r < R; ++r) {
#pragma GCC unroll 8
        for (int c = 0; c < C; ++c) V::Store(scores + r * kPageTokens + t + c * kLanes, acc[r][c]);
      }
    }
  }

  // Turns the scores of one row into weights, zero from `visible` on. Returns the factor that
  // brings what the row has summed so far to the new maximum.
  static float SoftMaxRow(float* scores, int visible, AttentionState& state) {
    constexpr int kVectors = kPageTokens / kLanes;
    Row<kVectors> score;
    Reg max = V::Set(kMinusInfinity);
    for (int c = 0; c < kVectors; ++c) {
      score[c] = V::KeepFirst(V::Load(scores + c * kLanes), visible - c * kLanes, kMinusInfinity);
      max = V::Max(score[c], max);
    }
    const float page_max = V::ReduceMax(max);
    const float new_max = page_max > state.max ? page_max : state.max;
    // While every score is -inf any finite base serves: the weights are exp(-inf) = 0, not NaN.
    const float base = new_max == kMinusInfinity ? 0.0F : new_max;
    Reg sum = V::Set(0);
    for (int c = 0; c < kVectors; ++c) {
      const Reg weight = V::Exp(V::Sub(score[c], V::Set(base)));
      V::Store(scores + c * kLanes, weight);
      sum = V::Add(sum, weight);
    }
    float correction = 1.0F;
    if (state.max != base) {
      float lanes[size_t{V::kLanes}];
      V::Store(lanes, V::Exp(V::Set(state.max - base)));
      correction = lanes[0];
    }
    state.max = new_max;
    state.sum = state.sum * correction + V::ReduceAdd(sum);
    return correction;
  }

  // One tile of out: C vectors of R rows from column d on. All rows see the tokens before `common`;
  // each row then goes on alone to its own last token.
  template <int R, int C>
  static void ValueTile(const AttentionBlock& block, int64_t row, int64_t d, int common,
                        const float* weights, const float* corrections) {
    const auto* values = reinterpret_cast<const Stored*>(block.v) + d;
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
    Accumulate<R, C>(weights, kPageTokens, values, block.head_dim, 0, common, acc);
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
    const auto* values = reinterpret_cast<const Stored*>(block.v) + d;
    float* out = block.out + row * block.ldout + d;
    const int64_t n = block.head_dim - d;
    Reg acc = V::Mul(V::LoadN(out, n), V::Set(correction));
    for (int64_t t = 0; t < block.visible[row]; ++t) {
      acc = V::Fma(V::Set(weights[t]), V::LoadN(values + t * block.head_dim, n), acc);
    }
    V::StoreN(out, acc, n);
  }

  // Columns [d, head_dim) of R rows, the widest tiles first.
  template <int R, int C>
  static void ValueColumns(const AttentionBlock& block, int64_t row, int64_t d, int common,
                           const float* weights, const float* corrections) {
    for (; d + C * kLanes <= block.head_dim; d += C * kLanes) {
      ValueTile<R, C>(block, row, d, common, weights, corrections);
    }
    if constexpr (C > 1) {
      ValueColumns<R, C / 2>(block, row, d, common, weights, corrections);
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

  // A run of rows that all see something.
  static void AddRows(const AttentionBlock& block, int64_t begin, int64_t end) {
    float corrections[size_t{kRowBlock}];
    for (int64_t row = begin; row < end; row += kRowsMax) {
      const int64_t n = end - row < kRowsMax ? end - row : kRowsMax;
      float* scores = block.scratch + row * kPageTokens;
      const int visible_max = VisibleMax(block.visible + row, n);
      Group<kRowsMax>(n, [&]<int R>() { ScoreRows<R>(block, row, visible_max, scores); });
      for (int64_t r = 0; r < n; ++r) {
        corrections[row - begin + r] =
            SoftMaxRow(scores + r * kPageTokens, block.visible[row + r], block.state[row + r]);
      }
    }
    for (int64_t row = begin; row < end; row += kRowsMax) {
      const int64_t n = end - row < kRowsMax ? end - row : kRowsMax;
      const float* weights = block.scratch + row * kPageTokens;
      const float* correction = corrections + (row - begin);
      const int common = VisibleMin(block.visible + row, n);
      Group<kRowsMax>(n, [&]<int R>() {
        ValueColumns<R, Columns(R)>(block, row, 0, common, weights, correction);
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

  static void StoreToken(const float* key, const float* value, int head_dim, int slot, std::byte* k,
                         std::byte* v) {
    auto* keys = reinterpret_cast<Stored*>(k) + slot;
    auto* values = reinterpret_cast<Stored*>(v) + int64_t{slot} * head_dim;
    for (int64_t d = 0; d < head_dim; d += kLanes) {
      const int64_t n = head_dim - d < kLanes ? head_dim - d : kLanes;
      Stored lanes[size_t{V::kLanes}];
      V::Store(lanes, V::LoadN(key + d, n));
      for (int64_t j = 0; j < n; ++j) keys[(d + j) * kPageTokens] = lanes[j];
      V::StoreN(values + d, V::LoadN(value + d, n), n);
    }
  }

  static constexpr AttentionKernel kTable = {V::kName, kDType, StoreToken, AddPage};
};

}  // namespace inhouse::engine
