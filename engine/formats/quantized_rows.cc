#include "engine/formats/quantized_rows.h"

#include <algorithm>
#include <array>
#include <cstring>
#include <utility>

#include "base/check.h"
#include "engine/tensor/float16.h"
#include "engine/tensor/float8.h"

namespace inhouse::engine {
namespace {

float ValueOf(CodeType type, uint32_t code) {
  switch (type) {
    case CodeType::kE4M3:
      return FromE4M3(code);
    case CodeType::kE5M2:  // the upper byte of an F16
      return FromF16(static_cast<uint16_t>(code << 8));
    case CodeType::kInt8:
      return static_cast<float>(static_cast<int8_t>(code));
    case CodeType::kUnsigned:
      return static_cast<float>(code);
  }
  return 0;
}

void Store(float value, std::byte* out) { std::memcpy(out, &value, sizeof(float)); }

class Assembler final : public RowAssembler {
 public:
  Assembler(QuantizedRows rows, DType dtype)
      : q_(std::move(rows)), dtype_(dtype), row_bytes_(RowBytes(dtype, q_.columns)) {
    for (uint32_t code = 0; code < 256; ++code) values_[code] = ValueOf(q_.type, code);
  }

  // Tiles of the same columns one after another: AWQ and GPTQ have them in the same cache lines.
  void Assemble(int64_t begin, int64_t n, const std::byte* /*codes*/,
                std::byte* out) const override {
    const DTypeInfo& info = Info(dtype_);
    for (int64_t column = 0; column < q_.columns; column += kTileColumns) {
      std::byte* tile_out = out + column / info.block_elements * info.block_bytes;
      for (int64_t row = 0; row < n; row += kTileRows) {
        Emit({begin + row, std::min(kTileRows, n - row), column,
              std::min(kTileColumns, q_.columns - column)},
             tile_out + row * row_bytes_);
      }
    }
  }

 private:
  int64_t Group(int64_t column) const { return column / q_.group_columns; }
  float Zero(int64_t row, int64_t group) const {
    return q_.zeros == nullptr ? q_.zero : q_.zeros->At(row, group);
  }

  void Emit(const CodeTile& tile, std::byte* out) const {
    switch (dtype_) {
      case DType::kI4Group128:
        return EmitNibbles<128, false>(tile, out);
      case DType::kI4Group32:
        return EmitNibbles<32, false>(tile, out);
      case DType::kI4MinGroup128:
        return EmitNibbles<128, true>(tile, out);
      case DType::kI4MinGroup32:
        return EmitNibbles<32, true>(tile, out);
      default:
        break;
    }
    std::array<uint8_t, kTileRows * kTileColumns> codes;
    ReadWhole(tile, codes.data());
    for (int64_t r = 0; r < tile.rows; ++r) {
      const CodeTile row{tile.row + r, 1, tile.column, tile.columns};
      uint8_t* row_codes = codes.data() + r * kTileColumns;
      if (dtype_ == DType::kF32) {
        EmitFloats(row, row_codes, out);
      } else {
        Center(row, row_codes);
        if (Info(dtype_).block_elements == 128) {
          EmitBytes<128>(row, row_codes, out);
        } else {
          EmitBytes<32>(row, row_codes, out);
        }
      }
      out += row_bytes_;
    }
  }

  // The codes of a tile with zeros behind its last column.
  void ReadWhole(const CodeTile& tile, uint8_t* codes) const {
    q_.codes->Read(tile, codes);
    for (int64_t r = 0; r < tile.rows; ++r) ClearTail(tile, codes + r * kTileColumns);
  }

  // Unsigned codes less their zero point, which fit int8 (SmallestRowType saw to it).
  void Center(const CodeTile& row, uint8_t* codes) const {
    if (q_.type != CodeType::kUnsigned) return;
    for (int64_t c = 0; c < row.columns; c += 32) {
      const auto zero = static_cast<uint8_t>(Zero(row.row, Group(row.column + c)));
      for (int64_t i = c; i < c + 32; ++i) codes[i] = static_cast<uint8_t>(codes[i] - zero);
    }
    ClearTail(row, codes);
  }

  static void ClearTail(const CodeTile& row, uint8_t* codes) {
    if (row.columns == kTileColumns) return;
    std::memset(codes + row.columns, 0, static_cast<size_t>(kTileColumns - row.columns));
  }

  template <int kColumns>
  void EmitBytes(const CodeTile& row, const uint8_t* codes, std::byte* out) const {
    for (int64_t c = 0; c < row.columns; c += kColumns) {
      Store(q_.scales->At(row.row, Group(row.column + c)), out);
      std::memcpy(out + 4, codes + c, kColumns);
      out += 4 + kColumns;
    }
  }

  template <int kColumns, bool kMin>
  void EmitNibbles(const CodeTile& tile, std::byte* out) const {
    std::array<std::byte, kTileRows * kTileColumns / 2> nibbles;
    if (tile.columns == kTileColumns) {
      q_.codes->ReadNibbles(tile, nibbles.data());
    } else {
      std::array<uint8_t, kTileRows * kTileColumns> codes;
      ReadWhole(tile, codes.data());
      for (int64_t i = 0; i < tile.rows * kTileColumns; i += 32) {
        PackNibbles(codes.data() + i, nibbles.data() + i / 2);
      }
    }
    for (int64_t r = 0; r < tile.rows; ++r) {
      std::byte* to = out + r * row_bytes_;
      for (int64_t c = 0; c < tile.columns; c += kColumns) {
        const int64_t group = Group(tile.column + c);
        const float scale = q_.scales->At(tile.row + r, group);
        Store(scale, to);
        to += 4;
        if constexpr (kMin) {
          Store(-(scale * Zero(tile.row + r, group)), to);
          to += 4;
        }
        std::memcpy(to, nibbles.data() + (r * kTileColumns + c) / 2, kColumns / 2);
        to += kColumns / 2;
      }
    }
  }

  void EmitFloats(const CodeTile& row, const uint8_t* codes, std::byte* out) const {
    int64_t last = -1;
    float scale = 0;
    float zero = 0;
    for (int64_t c = 0; c < row.columns; ++c) {
      const int64_t column = row.column + c;
      const int64_t group =
          q_.column_groups.empty() ? Group(column) : q_.column_groups[static_cast<size_t>(column)];
      if (group != last) {
        scale = q_.scales->At(row.row, group);
        zero = Zero(row.row, group);
        last = group;
      }
      Store(scale * (values_[codes[c]] - zero), out + c * 4);
    }
  }

  const QuantizedRows q_;
  const DType dtype_;
  const int64_t row_bytes_;
  std::array<float, 256> values_;
};

}  // namespace

void PackNibbles(const uint8_t* codes, std::byte* out) {
  for (int half = 0; half < 16; half += 8) {
    uint64_t low;
    uint64_t high;
    std::memcpy(&low, codes + half, 8);
    std::memcpy(&high, codes + 16 + half, 8);
    low |= high << 4;  // codes have four bits: nothing crosses a byte
    std::memcpy(out + half, &low, 8);
  }
}

void Codes::ReadNibbles(const CodeTile& tile, std::byte* nibbles) const {
  std::array<uint8_t, kTileRows * kTileColumns> codes;
  Read(tile, codes.data());
  for (int64_t i = 0; i < tile.rows * kTileColumns; i += 32) {
    PackNibbles(codes.data() + i, nibbles + i / 2);
  }
}

bool AllZerosAre(const QuantizedRows& rows, float zero) {
  if (rows.zeros == nullptr) return rows.zero == zero;
  const int64_t groups = (rows.columns + rows.group_columns - 1) / rows.group_columns;
  for (int64_t row = 0; row < rows.rows; ++row) {
    for (int64_t group = 0; group < groups; ++group) {
      if (rows.zeros->At(row, group) != zero) return false;
    }
  }
  return true;
}

DType SmallestRowType(const QuantizedRows& rows) {
  const bool whole_row = rows.group_columns >= rows.columns;
  const bool by_128 = whole_row || rows.group_columns % 128 == 0;
  if (!rows.column_groups.empty() || (!by_128 && rows.group_columns % 32 != 0)) return DType::kF32;
  switch (rows.type) {
    case CodeType::kE4M3:
      if (!AllZerosAre(rows, 0)) return DType::kF32;
      return by_128 ? DType::kF8Group128 : DType::kF8Group32;
    case CodeType::kE5M2:
      return DType::kF32;
    case CodeType::kInt8:
      if (!AllZerosAre(rows, 0)) return DType::kF32;
      return by_128 ? DType::kI8Group128 : DType::kI8Group32;
    case CodeType::kUnsigned:
      break;
  }
  if (rows.bits == 4 && AllZerosAre(rows, 8)) {
    return by_128 ? DType::kI4Group128 : DType::kI4Group32;
  }
  // scale * q + minimum is exact with scales of 16-bit types, whose products with codes fit float.
  if (rows.bits <= 4) return by_128 ? DType::kI4MinGroup128 : DType::kI4MinGroup32;
  // A difference of codes of seven bits fits int8; of eight bits it does around the middle.
  if (rows.bits < 8 || AllZerosAre(rows, 128)) {
    return by_128 ? DType::kI8Group128 : DType::kI8Group32;
  }
  return DType::kF32;
}

std::shared_ptr<const RowAssembler> MakeRowAssembler(QuantizedRows rows, DType dtype) {
  INHOUSE_CHECK(rows.codes != nullptr && rows.scales != nullptr, "codes have scales");
  if (dtype != DType::kF32 && rows.codes->rows() != nullptr) {
    return MakeByRowAssembler(std::move(rows), dtype);
  }
  return std::make_shared<Assembler>(std::move(rows), dtype);
}

}  // namespace inhouse::engine
