// Packing float weights into panels of 32 rows. Source rows may be misaligned.
#pragma once

#include "engine/kernels/matmul/avx512_vector.h"

namespace inhouse::engine {
namespace {

constexpr int64_t kPackColumns = 64;  // taken from one row before the next: sources are streams

// Words of 32 bits: F32, or BF16 pairs. out[word][32 rows].
inline void PackWords32(const std::byte* const* rows, int n_rows, int64_t row_bytes, int64_t words,
                        std::byte* panel) {
  for (int64_t begin = 0; begin < words; begin += kPackColumns) {
    const int64_t end = begin + kPackColumns < words ? begin + kPackColumns : words;
    for (int r = 0; r < kPanelRows; ++r) {
      for (int64_t i = begin; i < end; ++i) {
        uint32_t word = 0;
        const int64_t left = row_bytes - i * 4;
        if (r < n_rows && left >= 4) {
          __builtin_memcpy(&word, rows[r] + i * 4, 4);
        } else if (r < n_rows && left > 0) {
          __builtin_memcpy(&word, rows[r] + i * 4, static_cast<size_t>(left));
        }
        __builtin_memcpy(panel + (i * kPanelRows + r) * 4, &word, 4);
      }
    }
  }
}

// Words of 16 bits: F16. out[word][32 rows].
inline void PackWords16(const std::byte* const* rows, int n_rows, int64_t words, std::byte* panel) {
  for (int64_t begin = 0; begin < words; begin += kPackColumns) {
    const int64_t end = begin + kPackColumns < words ? begin + kPackColumns : words;
    for (int r = 0; r < kPanelRows; ++r) {
      for (int64_t i = begin; i < end; ++i) {
        uint16_t word = 0;
        if (r < n_rows) __builtin_memcpy(&word, rows[r] + i * 2, 2);
        __builtin_memcpy(panel + (i * kPanelRows + r) * 2, &word, 2);
      }
    }
  }
}

}  // namespace
}  // namespace inhouse::engine
