// Causal attention over pages of the KV cache, one (query group, page) at a time, with a running
// softmax.
//
// A page holds kPageTokens tokens of one KV head: keys transposed, K[head_dim][kPageTokens], so
// that the scores of many tokens are computed at once, and values as V[kPageTokens][head_dim].
// Pages are taken in the order of their positions; a query's result depends on its own row and the
// pages alone, so it is the same in any batch and for any chunking.
//
// Types of pages (docs/decisions/0010): F32; F16, where numbers beyond its range are stored as its
// largest; BF16; and E4M3 with a power of two for each token and head, so that a token is stored
// alike whatever stands beside it. Such a block begins with kPageTokens floats, the scales.
#pragma once

#include <cstddef>
#include <cstdint>

#include "engine/tensor/dtype.h"

namespace inhouse::engine {

inline constexpr int kPageTokens = 64;

// Running softmax (Milakov & Gimelshein 2018, algorithm 3) of one query row, to the base 2.
struct AttentionState {
  float max;  // of the scores so far; -inf at the start
  float sum;  // of 2^(score - max)
};

// Bytes of the keys (or the values) of one page and head.
int64_t KvBlockBytes(DType kv, int head_dim);

// Adds one page to `n_queries` rows.
struct AttentionBlock {
  const float* q;  // [n_queries][ldq], already multiplied by the softmax scale and log2(e)
  int64_t ldq;
  const int32_t*
      visible;  // [n_queries]: the row sees the first visible[i] tokens of the page, 0..kPageTokens
  int n_queries;
  int head_dim;           // any positive number; fast paths for multiples of 16
  const std::byte* k;     // KvBlockBytes: [head_dim][kPageTokens] of the kernel's type
  const std::byte* v;     // KvBlockBytes: [kPageTokens][head_dim]
  AttentionState* state;  // [n_queries]
  float* out;  // [n_queries][ldout], unnormalised: sum of 2^(score - max) * v; zero at the start
  int64_t ldout;
  float* scratch;  // at least n_queries * kPageTokens floats, 64-byte aligned
  // Where the next page's keys stand, or null. V must follow K then, in both pages: while the keys
  // are read the values are fetched, and while the values are read the next keys. Only a hint.
  const std::byte* next;
};

// Kernels for one KV dtype (kF32, kF16, kBF16, kF8E4M3) at one ISA level.
struct AttentionKernel {
  const char* name;
  DType kv;
  // Writes token `slot`'s key and value of one head into its page (transposing the key, rounding to
  // the KV dtype).
  void (*store)(const float* key, const float* value, int head_dim, int slot, std::byte* k,
                std::byte* v);
  void (*add_page)(const AttentionBlock& block);
};

}  // namespace inhouse::engine
