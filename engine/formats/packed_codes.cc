#include "engine/formats/packed_codes.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "engine/tensor/float16.h"
#include "engine/tensor/float8.h"

namespace inhouse::engine {
namespace {

template <typename T>
T Load(const std::byte* p) {
  T value;
  std::memcpy(&value, p, sizeof(T));
  return value;
}

// Eight nibbles of a word as eight bytes, the lowest first.
inline uint64_t SpreadNibbles(uint32_t word) {
  uint64_t x = word;
  x = (x | x << 16) & 0x0000FFFF0000FFFFU;
  x = (x | x << 8) & 0x00FF00FF00FF00FFU;
  return (x | x << 4) & 0x0F0F0F0F0F0F0F0FU;
}

// Words that kTileColumns codes of 8 bits take, and one more for a code's upper part.
constexpr size_t kTileWords = 33;
using TileWords = std::array<uint32_t, kTileWords>;

// Code i is bits [i * bits, (i + 1) * bits) of the words; writes whole words' codes.
void Unpack(const TileWords& words, int bits, int64_t columns, uint8_t* codes) {
  const int64_t end = (columns + 31) / 32 * 32;
  if (bits == 8) {
    std::memcpy(codes, words.data(), static_cast<size_t>(end));
  } else if (bits == 4) {
    for (int64_t c = 0; c < end; c += 8) {
      const uint64_t eight = SpreadNibbles(words[static_cast<size_t>(c / 8)]);
      std::memcpy(codes + c, &eight, 8);
    }
  } else {
    for (int64_t c = 0; c < end; ++c) {
      const auto bit = static_cast<size_t>(c * bits);
      const uint64_t both = words[bit / 32] | static_cast<uint64_t>(words[bit / 32 + 1]) << 32;
      codes[c] = static_cast<uint8_t>(both >> bit % 32 & ((1U << bits) - 1));
    }
  }
}

class ByteCodesImpl final : public Codes {
 public:
  explicit ByteCodesImpl(const TensorView& bytes) : view_(bytes) {}
  void Read(const CodeTile& tile, uint8_t* codes) const override {
    for (int64_t r = 0; r < tile.rows; ++r) {
      std::memcpy(codes + r * kTileColumns,
                  view_.bytes.data() + (tile.row + r) * view_.columns() + tile.column,
                  static_cast<size_t>(tile.columns));
    }
  }
  const std::byte* rows() const override { return view_.bytes.data(); }
  int64_t row_bytes() const override { return view_.columns(); }

 private:
  const TensorView view_;
};

class PackedCodesImpl final : public Codes {
 public:
  // Word w of a row stands at row * row_stride + w * word_stride.
  PackedCodesImpl(const std::byte* words, int bits, int64_t words_per_row, int64_t row_stride,
                  int64_t word_stride)
      : words_(words),
        bits_(bits),
        words_per_row_(words_per_row),
        row_stride_(row_stride),
        word_stride_(word_stride) {}

  void Read(const CodeTile& tile, uint8_t* codes) const override {
    std::array<TileWords, kTileRows> words{};
    Gather(tile, words);
    for (int64_t r = 0; r < tile.rows; ++r) {
      Unpack(words[static_cast<size_t>(r)], bits_, tile.columns, codes + r * kTileColumns);
    }
  }

  void ReadNibbles(const CodeTile& tile, std::byte* nibbles) const override {
    if (bits_ != 4) return Codes::ReadNibbles(tile, nibbles);
    std::array<TileWords, kTileRows> words;
    Gather(tile, words);
    for (int64_t r = 0; r < tile.rows; ++r) {
      const auto* from = reinterpret_cast<const std::byte*>(words[static_cast<size_t>(r)].data());
      for (int64_t i = 0; i < 64; i += 16) SplitNibbles(from + i, nibbles + r * 64 + i);
    }
  }
  const std::byte* rows() const override {
    return bits_ == 4 && word_stride_ == 1 ? words_ : nullptr;
  }
  int64_t row_bytes() const override { return 4 * words_per_row_; }

 private:
  // The words of a tile's rows; the one behind a row's last is zero.
  void Gather(const CodeTile& tile, std::array<TileWords, kTileRows>& words) const {
    const int64_t first = tile.column * bits_ / 32;
    const int64_t n = std::min<int64_t>((tile.columns * bits_ + 31) / 32, words_per_row_ - first);
    const std::byte* from = words_ + 4 * (tile.row * row_stride_ + first * word_stride_);
    if (word_stride_ == 1) {
      for (int64_t r = 0; r < tile.rows; ++r) {
        std::memcpy(words[static_cast<size_t>(r)].data(), from + 4 * r * row_stride_,
                    static_cast<size_t>(4 * n));
      }
    } else {  // neighbours in memory are rows
      for (int64_t w = 0; w < n; ++w) {
        for (int64_t r = 0; r < tile.rows; ++r) {
          words[static_cast<size_t>(r)][static_cast<size_t>(w)] =
              Load<uint32_t>(from + 4 * (w * word_stride_ + r));
        }
      }
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
      words[static_cast<size_t>(r)][static_cast<size_t>(n)] = 0;
    }
  }

  const std::byte* words_;
  const int bits_;
  const int64_t words_per_row_;
  const int64_t row_stride_;
  const int64_t word_stride_;
};

// x[c] holds bytes of rows, lowest first: afterwards x[r] holds bytes of columns.
void TransposeBytes(std::array<uint64_t, 8>& x) {
  const auto swap = [&x](size_t a, size_t b, int shift, uint64_t mask) {
    const uint64_t t = (x[a] >> shift ^ x[b]) & mask;
    x[b] ^= t;
    x[a] ^= t << shift;
  };
  for (const size_t i : {0U, 1U, 2U, 3U}) swap(i, i + 4, 32, 0x00000000FFFFFFFFU);
  for (const size_t i : {0U, 1U, 4U, 5U}) swap(i, i + 2, 16, 0x0000FFFF0000FFFFU);
  for (const size_t i : {0U, 2U, 4U, 6U}) swap(i, i + 1, 8, 0x00FF00FF00FF00FFU);
}

class AwqCodesImpl final : public Codes {
 public:
  explicit AwqCodesImpl(const TensorView& words)
      : words_(words.bytes.data()), columns_(words.rows()), words_per_column_(words.columns()) {}

  void Read(const CodeTile& tile, uint8_t* codes) const override {
    for (int64_t c = 0; c < tile.columns; c += 8) {
      for (int64_t eight = tile.row / 8; eight * 8 < tile.row + tile.rows; ++eight) {
        std::array<uint64_t, 8> x{};
        const int64_t n = std::min<int64_t>(8, columns_ - (tile.column + c));
        for (int64_t i = 0; i < n; ++i) {
          x[static_cast<size_t>(i)] = SpreadNibbles(
              Load<uint32_t>(words_ + 4 * ((tile.column + c + i) * words_per_column_ + eight)));
        }
        TransposeBytes(x);
        for (size_t p = 0; p < 8; ++p) {
          const int64_t r = eight * 8 + kAwqOrder[p] - tile.row;
          if (r >= 0 && r < tile.rows) std::memcpy(codes + r * kTileColumns + c, &x[p], 8);
        }
      }
    }
  }

  // Eight columns j and 16 + j at a time. Nibbles of even and odd places of two words make eight
  // bytes, which belong to the outputs 0 4 1 5 2 6 3 7.
  void ReadNibbles(const CodeTile& tile, std::byte* nibbles) const override {
    constexpr uint64_t kOutput[8] = {0, 4, 1, 5, 2, 6, 3, 7};
    for (int64_t j = 0; j < 64; j += 8) {
      const std::byte* from = words_ + 4 * (tile.column + j / 16 * 32 + j % 16) * words_per_column_;
      for (int64_t eight = tile.row / 8; eight * 8 < tile.row + tile.rows; ++eight) {
        std::array<uint64_t, 8> x;
        for (int64_t i = 0; i < 8; ++i) {
          const auto a = Load<uint32_t>(from + 4 * (i * words_per_column_ + eight));
          const auto b = Load<uint32_t>(from + 4 * ((16 + i) * words_per_column_ + eight));
          const uint32_t even = (a & 0x0F0F0F0FU) | (b & 0x0F0F0F0FU) << 4;
          const uint32_t odd = (a >> 4 & 0x0F0F0F0FU) | (b & 0xF0F0F0F0U);
          x[static_cast<size_t>(i)] = even | static_cast<uint64_t>(odd) << 32;
        }
        TransposeBytes(x);
        for (size_t p = 0; p < 8; ++p) {
          const int64_t r = eight * 8 + static_cast<int64_t>(kOutput[p]) - tile.row;
          if (r >= 0 && r < tile.rows) std::memcpy(nibbles + r * 64 + j, &x[p], 8);
        }
      }
    }
  }

 private:
  const std::byte* words_;
  const int64_t columns_;
  const int64_t words_per_column_;
};

float ValueAt(DType dtype, const std::byte* tensor, int64_t index) {
  switch (dtype) {
    case DType::kF32:
      return Load<float>(tensor + index * 4);
    case DType::kF16:
      return FromF16(Load<uint16_t>(tensor + index * 2));
    case DType::kBF16:
      return FromBF16(Load<uint16_t>(tensor + index * 2));
    case DType::kF8E8M0:
      return FromE8M0(Load<uint8_t>(tensor + index));
    case DType::kI8:
      return static_cast<float>(Load<int8_t>(tensor + index));
    case DType::kU8:
      return static_cast<float>(Load<uint8_t>(tensor + index));
    default:
      return 0;  // no caller passes another type
  }
}

class TensorValuesImpl final : public GroupValues {
 public:
  TensorValuesImpl(const TensorView& tensor, const ValueGrid& grid)
      : tensor_(tensor.bytes.data()), dtype_(tensor.dtype), grid_(grid) {}
  float At(int64_t row, int64_t group) const override {
    return ValueAt(dtype_, tensor_, First(row) + group * grid_.group_stride);
  }
  void OfRow(int64_t row, std::span<float> out) const override {
    int64_t at = First(row);
    for (float& value : out) {
      value = ValueAt(dtype_, tensor_, at);
      at += grid_.group_stride;
    }
  }

 private:
  int64_t First(int64_t row) const { return row / grid_.rows_per_value * grid_.row_stride; }

  const std::byte* tensor_;
  const DType dtype_;
  const ValueGrid grid_;
};

class PackedZerosImpl final : public GroupValues {
 public:
  PackedZerosImpl(const TensorView& words, const PackedZeroLayout& layout)
      : words_(words.bytes), layout_(layout) {}
  float At(int64_t row, int64_t group) const override {
    const int64_t bit = (layout_.awq_order ? AwqPlace(row) : row) * layout_.bits;
    const int64_t at = 4 * (bit / 32 * layout_.word_stride + group * layout_.group_stride);
    uint64_t both = Load<uint32_t>(words_.data() + at);
    if (bit % 32 + layout_.bits > 32) {
      both |= static_cast<uint64_t>(Load<uint32_t>(words_.data() + at + 4 * layout_.word_stride))
              << 32;
    }
    const uint64_t zero = (both >> bit % 32) + (layout_.plus_one ? 1 : 0);
    return static_cast<float>(zero & ((1U << layout_.bits) - 1));
  }

 private:
  // The nibble of output `row`: the inverse of kAwqOrder.
  static int64_t AwqPlace(int64_t row) {
    return row / 8 * 8 + (row % 2 == 0 ? row % 8 / 2 : 4 + row % 8 / 2);
  }

  const std::span<const std::byte> words_;
  const PackedZeroLayout layout_;
};

}  // namespace

std::unique_ptr<const Codes> ByteCodes(const TensorView& bytes) {
  return std::make_unique<ByteCodesImpl>(bytes);
}

std::unique_ptr<const Codes> RowPackedCodes(const TensorView& words, int bits) {
  if (bits == 8) {
    return ByteCodes({DType::kU8, {words.rows(), words.columns() * 4}, words.bytes});
  }
  return std::make_unique<PackedCodesImpl>(words.bytes.data(), bits, words.columns(),
                                           words.columns(), 1);
}

std::unique_ptr<const Codes> ColumnPackedCodes(const TensorView& words, int bits) {
  return std::make_unique<PackedCodesImpl>(words.bytes.data(), bits, words.rows(), 1,
                                           words.columns());
}

std::unique_ptr<const Codes> AwqCodes(const TensorView& words) {
  return std::make_unique<AwqCodesImpl>(words);
}

std::unique_ptr<const GroupValues> TensorValues(const TensorView& tensor, const ValueGrid& grid) {
  return std::make_unique<TensorValuesImpl>(tensor, grid);
}

std::unique_ptr<const GroupValues> PackedZeros(const TensorView& words,
                                               const PackedZeroLayout& layout) {
  return std::make_unique<PackedZerosImpl>(words, layout);
}

}  // namespace inhouse::engine
