// Where the quantized formats keep a code, a scale or a zero point. The factories take checked
// tensors: type and shape are the caller's business.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>

#include "engine/formats/quantized_rows.h"
#include "engine/tensor/tensor_view.h"

namespace inhouse::engine {

// One byte a code, [rows, columns].
std::unique_ptr<const Codes> ByteCodes(const TensorView& bytes);

// Little-endian 32-bit words along the columns, [rows, words]: code c of a row is bits
// [c * bits, (c + 1) * bits) of its words, crossing them where it must (compressed-tensors).
std::unique_ptr<const Codes> RowPackedCodes(const TensorView& words, int bits);

// The same along the columns but transposed, [words, rows] (GPTQ).
std::unique_ptr<const Codes> ColumnPackedCodes(const TensorView& words, int bits);

// Four bits, [columns, rows / 8]: nibble p of a word is row 8 * word + kAwqOrder[p] (AWQ).
std::unique_ptr<const Codes> AwqCodes(const TensorView& words);

// Nibble p of an AWQ word is the output kAwqOrder[p] of eight.
inline constexpr int kAwqOrder[8] = {0, 2, 4, 6, 1, 3, 5, 7};

// Repacks 32 four-bit codes of consecutive nibbles, lowest first (16 bytes), into a block of
// dtype.h: codes j and 16 + j in byte j.
inline void SplitNibbles(const std::byte* codes, std::byte* block) {
  using Bytes16 [[gnu::vector_size(16)]] = uint8_t;
  Bytes16 v;
  std::memcpy(&v, codes, sizeof(v));
  const Bytes16 low = v & 15;
  const Bytes16 high = v >> 4;
  const Bytes16 first =
      __builtin_shufflevector(low, high, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
  const Bytes16 second = __builtin_shufflevector(low, high, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28,
                                                 13, 29, 14, 30, 15, 31);
  const Bytes16 both = first | second << 4;
  std::memcpy(block, &both, sizeof(both));
}

// A value of a tensor for each group: element row / rows_per_value * row_stride + group *
// group_stride of a floating, E8M0 or 8-bit integer tensor.
struct ValueGrid {
  int64_t rows_per_value = 1;
  int64_t row_stride = 0;
  int64_t group_stride = 0;
};
std::unique_ptr<const GroupValues> TensorValues(const TensorView& tensor, const ValueGrid& grid);

// Zero points of `bits` bits packed along the rows of the matrix.
struct PackedZeroLayout {
  int bits = 4;
  int64_t word_stride = 1;   // between words along the rows
  int64_t group_stride = 1;  // between groups
  bool awq_order = false;
  bool plus_one = false;  // GPTQ v1 stores them less one
};
std::unique_ptr<const GroupValues> PackedZeros(const TensorView& words,
                                               const PackedZeroLayout& layout);

}  // namespace inhouse::engine
