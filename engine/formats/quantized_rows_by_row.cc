// Rows out of codes that lie row after row, as nearly all formats have them: one pass over a row.
#include <algorithm>
#include <array>
#include <cstring>
#include <utility>
#include <vector>

#include "base/check.h"
#include "engine/formats/packed_codes.h"
#include "engine/formats/quantized_rows.h"

namespace inhouse::engine {
namespace {

void Store(float value, std::byte* out) { std::memcpy(out, &value, sizeof(float)); }

// The code of column `columns` and those behind it, up to the end of the block, become zero.
void ClearNibblesFrom(int64_t columns, std::byte* codes, int64_t bytes) {
  if (columns % 2 != 0) codes[columns / 2] &= std::byte{0x0F};
  const int64_t used = (columns + 1) / 2;
  std::memset(codes + used, 0, static_cast<size_t>(bytes - used));
}

class ByRowAssembler final : public RowAssembler {
 public:
  ByRowAssembler(QuantizedRows rows, DType dtype)
      : q_(std::move(rows)),
        dtype_(dtype),
        out_bytes_(RowBytes(dtype, q_.columns)),
        groups_(static_cast<size_t>((q_.columns + q_.group_columns - 1) / q_.group_columns)) {}

  int64_t code_row_bytes() const override { return q_.codes->row_bytes(); }

  void Assemble(int64_t begin, int64_t n, const std::byte* codes, std::byte* out) const override {
    const int64_t bytes = q_.codes->row_bytes();
    if (codes == nullptr) codes = q_.codes->rows() + begin * bytes;
    Row row{std::vector<float>(groups_), std::vector<float>(groups_, q_.zero)};
    for (int64_t r = 0; r < n; ++r, codes += bytes, out += out_bytes_) {
      q_.scales->OfRow(begin + r, row.scales);
      if (q_.zeros != nullptr) q_.zeros->OfRow(begin + r, row.zeros);
      Emit(row, codes, out);
    }
  }

 private:
  struct Row {
    std::vector<float> scales;  // by group
    std::vector<float> zeros;
  };

  void Emit(const Row& row, const std::byte* codes, std::byte* out) const {
    switch (dtype_) {
      case DType::kI4Group128:
        return EmitNibbles<128, false>(row, codes, out);
      case DType::kI4Group32:
        return EmitNibbles<32, false>(row, codes, out);
      case DType::kI4MinGroup128:
        return EmitNibbles<128, true>(row, codes, out);
      case DType::kI4MinGroup32:
        return EmitNibbles<32, true>(row, codes, out);
      case DType::kF8Group128:
      case DType::kI8Group128:
        return EmitBytes<128>(row, codes, out);
      default:
        return EmitBytes<32>(row, codes, out);
    }
  }

  // Calls emit(first column, group) for the blocks of a row. A group has whole blocks, or all.
  template <int kColumns, typename EmitBlock>
  void ForBlocks(const EmitBlock& emit) const {
    size_t group = 0;
    int64_t left = q_.group_columns;
    for (int64_t column = 0; column < q_.columns; column += kColumns, left -= kColumns) {
      if (left <= 0) {
        ++group;
        left += q_.group_columns;
      }
      emit(column, group);
    }
  }

  template <int kColumns>
  void EmitBytes(const Row& row, const std::byte* codes, std::byte* out) const {
    const bool centered = q_.type == CodeType::kUnsigned;  // less the zero point they fit int8
    ForBlocks<kColumns>([&](int64_t column, size_t group) {
      Store(row.scales[group], out);
      const int64_t n = std::min<int64_t>(kColumns, q_.columns - column);
      std::array<uint8_t, static_cast<size_t>(kColumns)> block;
      if (n == kColumns) {  // a copy of constant size
        std::memcpy(block.data(), codes + column, kColumns);
      } else {
        block.fill(0);
        std::memcpy(block.data(), codes + column, static_cast<size_t>(n));
      }
      if (centered) {
        const auto zero = static_cast<uint8_t>(row.zeros[group]);
        for (uint8_t& code : block) code = static_cast<uint8_t>(code - zero);
        if (n < kColumns) std::fill(block.begin() + n, block.end(), uint8_t{0});
      }
      std::memcpy(out + 4, block.data(), kColumns);
      out += 4 + kColumns;
    });
  }

  template <int kColumns, bool kMin>
  void EmitNibbles(const Row& row, const std::byte* codes, std::byte* out) const {
    constexpr int kBytes = kColumns / 2;
    ForBlocks<kColumns>([&](int64_t column, size_t group) {
      Store(row.scales[group], out);
      out += 4;
      if constexpr (kMin) {
        Store(-(row.scales[group] * row.zeros[group]), out);
        out += 4;
      }
      const std::byte* from = codes + column / 2;
      std::array<std::byte, static_cast<size_t>(kBytes)> block;
      if (const int64_t n = q_.columns - column; n < kColumns) {
        std::memcpy(block.data(), from, static_cast<size_t>((n + 1) / 2));
        ClearNibblesFrom(n, block.data(), kBytes);
        from = block.data();
      }
      for (int i = 0; i < kBytes; i += 16) SplitNibbles(from + i, out + i);
      out += kBytes;
    });
  }

  const QuantizedRows q_;
  const DType dtype_;
  const int64_t out_bytes_;
  const size_t groups_;
};

}  // namespace

std::shared_ptr<const RowAssembler> MakeByRowAssembler(QuantizedRows rows, DType dtype) {
  INHOUSE_CHECK(rows.codes->rows() != nullptr, "codes lie row after row");
  return std::make_shared<ByRowAssembler>(std::move(rows), dtype);
}

}  // namespace inhouse::engine
