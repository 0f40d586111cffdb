// Transposes that put stored rows into the order of a panel: [words][32 rows]. Only for the AVX2
// and AVX-VNNI translation units.
#pragma once

#include <immintrin.h>

#include <cstring>

#include "engine/kernels/matmul/avx2_vector.h"

namespace inhouse::engine::avx2 {
namespace {

// The rows of a panel, or what follows in them; null for a missing row, which reads as zeros.
struct Rows {
  const std::byte* at[kPanelRows];

  Rows(const std::byte* const* rows, int n_rows) {
    for (int i = 0; i < kPanelRows; ++i) at[i] = i < n_rows ? rows[i] : nullptr;
  }
  void Advance(int64_t bytes) {
    for (const std::byte*& row : at) {
      if (row != nullptr) row += bytes;
    }
  }
};

inline __m128i LoadRow(const std::byte* row, int64_t offset) {
  return row == nullptr ? _mm_setzero_si128()
                        : _mm_loadu_si128(reinterpret_cast<const __m128i*>(row + offset));
}

// out[w] = the words w of eight rows, from four words at `offset` of each.
[[gnu::always_inline]] inline void TransposeWords(const std::byte* const* rows, int64_t offset,
                                                  __m256i out[4]) {
  __m256i a[4];
  for (int i = 0; i < 4; ++i) {
    a[i] = _mm256_inserti128_si256(_mm256_castsi128_si256(LoadRow(rows[i], offset)),
                                   LoadRow(rows[i + 4], offset), 1);
  }
  const __m256i low01 = _mm256_unpacklo_epi32(a[0], a[1]);
  const __m256i low23 = _mm256_unpacklo_epi32(a[2], a[3]);
  const __m256i high01 = _mm256_unpackhi_epi32(a[0], a[1]);
  const __m256i high23 = _mm256_unpackhi_epi32(a[2], a[3]);
  out[0] = _mm256_unpacklo_epi64(low01, low23);
  out[1] = _mm256_unpackhi_epi64(low01, low23);
  out[2] = _mm256_unpacklo_epi64(high01, high23);
  out[3] = _mm256_unpackhi_epi64(high01, high23);
}

inline void StoreBytes(__m256i v, std::byte* p) {
  _mm256_store_si256(reinterpret_cast<__m256i*>(p), v);
}

// to[w][32 rows] = word w from `offset` on, w < n_words, a multiple of four. A cache line of eight
// rows at a time: rows may lie a multiple of 4 KiB apart, and then share the eight ways of a set.
inline void CopyWords(const Rows& rows, int64_t offset, int64_t n_words, std::byte* to) {
  for (int64_t begin = 0; begin < n_words; begin += 16) {
    const int64_t end = n_words - begin < 16 ? n_words : begin + 16;
    for (int r = 0; r < kPanelRows; r += 8) {
      for (int64_t w = begin; w < end; w += 4) {
        __m256i v[4];
        TransposeWords(rows.at + r, offset + 4 * w, v);
        for (int i = 0; i < 4; ++i) StoreBytes(v[i], to + (w + i) * kWordBytes + 4 * r);
      }
    }
  }
}

// The same for units of two bytes: to[h][32 rows], h < 2 * n_words.
inline void CopyHalfWords(const Rows& rows, int64_t offset, int64_t n_words, std::byte* to) {
  const __m256i split = _mm256_broadcastsi128_si256(
      _mm_setr_epi8(0, 1, 4, 5, 8, 9, 12, 13, 2, 3, 6, 7, 10, 11, 14, 15));
  for (int64_t begin = 0; begin < n_words; begin += 16) {
    const int64_t end = n_words - begin < 16 ? n_words : begin + 16;
    for (int r = 0; r < kPanelRows; r += 8) {
      for (int64_t w = begin; w < end; w += 4) {
        __m256i v[4];
        TransposeWords(rows.at + r, offset + 4 * w, v);
        for (int i = 0; i < 4; ++i) {
          const __m256i both = _mm256_permute4x64_epi64(_mm256_shuffle_epi8(v[i], split), 0xD8);
          std::byte* at = to + (w + i) * kWordBytes + 2 * r;
          _mm_store_si128(reinterpret_cast<__m128i*>(at), _mm256_castsi256_si128(both));
          _mm_store_si128(reinterpret_cast<__m128i*>(at + kWordBytes / 2),
                          _mm256_extracti128_si256(both, 1));
        }
      }
    }
  }
}

// A field of kBytes at `offset` of every row: to[32 rows][kBytes].
template <int kBytes>
inline void CopyField(const Rows& rows, int64_t offset, std::byte* to) {
  for (int i = 0; i < kPanelRows; ++i) {
    if (rows.at[i] != nullptr) {
      std::memcpy(to + kBytes * i, rows.at[i] + offset, kBytes);
    } else {
      std::memset(to + kBytes * i, 0, kBytes);
    }
  }
}

// Whole rows of `bytes` that need no other order: to[words of row][32 rows], or half words. The
// last word is filled up with zeros to `words`.
template <typename Copy>
void CopyRows(Rows rows, int64_t bytes, int64_t words, std::byte* to, Copy copy) {
  constexpr int64_t kAhead = 512;  // 32 streams are more than the hardware follows
  const int64_t whole = bytes / 16 * 4;
  for (int64_t w = 0; w < whole; w += 16) {
    for (const std::byte* row : rows.at) {
      if (row != nullptr) {
        _mm_prefetch(reinterpret_cast<const char*>(row + 4 * w + kAhead), _MM_HINT_T0);
      }
    }
    copy(rows, 4 * w, whole - w < 16 ? whole - w : 16, to + w * kWordBytes);
  }
  if (whole == words) return;
  std::byte tail[kPanelRows][16] = {};
  for (int i = 0; i < kPanelRows; ++i) {
    if (rows.at[i] == nullptr) continue;
    std::memcpy(tail[i], rows.at[i] + 4 * whole, static_cast<size_t>(bytes - 4 * whole));
    rows.at[i] = tail[i];
  }
  alignas(32) std::byte last[4 * kWordBytes];
  copy(rows, 0, 4, last);
  std::memcpy(to + whole * kWordBytes, last, static_cast<size_t>((words - whole) * kWordBytes));
}

}  // namespace
}  // namespace inhouse::engine::avx2
