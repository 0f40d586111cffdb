// Rows out of codes, scales and zero points: the part that all quantized formats share. What
// differs between them, where a code, a scale or a zero point stands, is behind Codes and
// GroupValues (packed_codes.h has the kinds).
//
//   value(row, column) = scale(row, group) * (code(row, column) - zero(row, group))
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "engine/formats/stored_matrix.h"

namespace inhouse::engine {

inline constexpr int64_t kTileRows = 16;
inline constexpr int64_t kTileColumns = 128;

// At most kTileRows x kTileColumns codes; `column` is a multiple of kTileColumns.
struct CodeTile {
  int64_t row;
  int64_t rows;
  int64_t column;
  int64_t columns;
};

class Codes {
 public:
  virtual ~Codes() = default;
  // Writes the code of (tile.row + r, tile.column + c) to codes[r * kTileColumns + c]. May write
  // anything behind the last column, up to kTileColumns.
  virtual void Read(const CodeTile& tile, uint8_t* codes) const = 0;
  // Codes of four bits of a tile with kTileColumns columns as the INT4 blocks have them: of row r,
  // byte 64 r + 16 i + j holds columns 32 i + j (low) and 32 i + 16 + j (high). Here by Read().
  virtual void ReadNibbles(const CodeTile& tile, std::byte* nibbles) const;
  // Row 0, if each row is row_bytes() bytes behind the one before and has a byte for each code, or
  // a nibble (the lower one first); null for everything else.
  virtual const std::byte* rows() const { return nullptr; }
  virtual int64_t row_bytes() const { return 0; }
};

// Nibbles of 32 codes, in that order.
void PackNibbles(const uint8_t* codes, std::byte* out);

// A number for each group of columns of each row.
class GroupValues {
 public:
  virtual ~GroupValues() = default;
  virtual float At(int64_t row, int64_t group) const = 0;
  // Those of the first groups of a row.
  virtual void OfRow(int64_t row, std::span<float> out) const {
    for (size_t group = 0; group < out.size(); ++group) {
      out[group] = At(row, static_cast<int64_t>(group));
    }
  }
};

enum class CodeType : uint8_t {
  kE4M3,
  kE5M2,
  kInt8,      // two's complement
  kUnsigned,  // of `bits` bits
};

struct QuantizedRows {
  int64_t rows = 0;
  int64_t columns = 0;
  CodeType type = CodeType::kInt8;
  int bits = 8;
  std::unique_ptr<const Codes> codes;
  // Columns of a group; at least 1, may be more than the matrix has.
  int64_t group_columns = 1;
  // If not empty, the group of each column: groups are no runs then (GPTQ with activation order).
  std::vector<int32_t> column_groups;
  std::unique_ptr<const GroupValues> scales;
  std::unique_ptr<const GroupValues> zeros;  // may be null: `zero` everywhere
  float zero = 0;
};

// Whether all zero points are `zero`, so that they need not be kept.
bool AllZerosAre(const QuantizedRows& rows, float zero);

// The smallest row type that keeps every value: a block type if the groups are runs of whole blocks
// and the codes fit; otherwise kF32, which holds scale * (code - zero) rounded once.
DType SmallestRowType(const QuantizedRows& rows);

// `dtype` is from SmallestRowType().
std::shared_ptr<const RowAssembler> MakeRowAssembler(QuantizedRows rows, DType dtype);

// The same where the codes lie row after row (Codes::rows()) and `dtype` has blocks: several times
// as fast, and able to take the codes from a copy.
std::shared_ptr<const RowAssembler> MakeByRowAssembler(QuantizedRows rows, DType dtype);

}  // namespace inhouse::engine
