// AWQ and GPTQ: X.qweight, four (GPTQ also two, three, eight) bits in 32-bit words, stored input by
// output. AWQ packs eight outputs into a word, GPTQ consecutive inputs.
#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_request.h"
#include "engine/formats/packed_codes.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// Scales of both are [groups, rows].
absl::StatusOr<const StoredTensor*> RequireScales(const MatrixRequest& request, int64_t groups) {
  return request.Require("scales", {DType::kF16, DType::kBF16, DType::kF32},
                         {groups, request.rows});
}

std::unique_ptr<const GroupValues> Scales(const StoredTensor& scales) {
  return TensorValues(
      scales.view, {.rows_per_value = 1, .row_stride = 1, .group_stride = scales.view.columns()});
}

struct GptqShape {
  int bits;
  int64_t group_columns;
  int64_t groups;
};

// As config.json says; where it says that modules differ, as the tensors' shapes do.
absl::StatusOr<GptqShape> ShapeOf(const MatrixRequest& request) {
  const QuantizationConfig& config = request.config;
  GptqShape shape{config.bits, config.group_columns < 0 ? request.columns : config.group_columns,
                  0};
  if (config.per_module) {
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* words, request.Require("qweight", {DType::kI32}));
    for (const int bits : {2, 3, 4, 8}) {
      if (words->view.rows() == CeilDiv(request.columns * bits, 32)) shape.bits = bits;
    }
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales,
                             request.Require("scales", {DType::kF16, DType::kBF16, DType::kF32}));
    const int64_t groups = scales->view.rows();
    if (groups < 1 || request.columns % groups != 0) {
      return BadShape(*scales,
                      fmt::format("a number of groups that divides {} columns", request.columns));
    }
    shape.group_columns = request.columns / groups;
  }
  shape.groups = CeilDiv(request.columns, shape.group_columns);
  return shape;
}

}  // namespace

absl::StatusOr<StoredMatrix> FindAwq(const MatrixRequest& request) {
  if (request.rows % 8 != 0) {
    return base::InvalidInput({.file = request.config.file,
                               .field = request.NameOf("qweight"),
                               .value = fmt::format("{} outputs", request.rows),
                               .expected = "a multiple of 8 for AWQ"});
  }
  const int64_t said = request.config.group_columns;
  const int64_t group_columns = said < 0 ? request.columns : said;
  const int64_t groups = CeilDiv(request.columns, group_columns);
  const int64_t words = request.rows / 8;
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* codes,
                           request.Require("qweight", {DType::kI32}, {request.columns, words}));
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* zeros,
                           request.Require("qzeros", {DType::kI32}, {groups, words}));
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales, RequireScales(request, groups));
  QuantizedRows rows;
  rows.type = CodeType::kUnsigned;
  rows.bits = 4;
  rows.codes = AwqCodes(codes->view);
  rows.group_columns = group_columns;
  rows.scales = Scales(*scales);
  rows.zeros = PackedZeros(zeros->view,
                           {.bits = 4, .word_stride = 1, .group_stride = words, .awq_order = true});
  return Assemble(request, std::move(rows), {codes, zeros, scales});
}

absl::StatusOr<StoredMatrix> FindGptq(const MatrixRequest& request) {
  INHOUSE_ASSIGN_OR_RETURN(const GptqShape shape, ShapeOf(request));
  INHOUSE_ASSIGN_OR_RETURN(
      const StoredTensor* codes,
      request.Require("qweight", {DType::kI32},
                      {CeilDiv(request.columns * shape.bits, 32), request.rows}));
  const int64_t zero_words = CeilDiv(request.rows * shape.bits, 32);
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* zeros,
                           request.Require("qzeros", {DType::kI32}, {shape.groups, zero_words}));
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales, RequireScales(request, shape.groups));
  QuantizedRows rows;
  rows.type = CodeType::kUnsigned;
  rows.bits = shape.bits;
  rows.codes = ColumnPackedCodes(codes->view, shape.bits);
  rows.group_columns = shape.group_columns;
  rows.scales = Scales(*scales);
  rows.zeros = PackedZeros(zeros->view, {.bits = shape.bits,
                                         .word_stride = 1,
                                         .group_stride = zero_words,
                                         .plus_one = request.config.zeros_less_one});
  std::vector<const StoredTensor*> tensors = {codes, zeros, scales};
  if (request.Find("g_idx") != nullptr) {
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* indices,
                             request.Require("g_idx", {DType::kI32}, {request.columns}));
    INHOUSE_ASSIGN_OR_RETURN(rows.column_groups,
                             ReadGroupIndices(*indices, shape.groups, shape.group_columns));
    tensors.push_back(indices);
  }
  return Assemble(request, std::move(rows), std::move(tensors));
}

}  // namespace inhouse::engine
