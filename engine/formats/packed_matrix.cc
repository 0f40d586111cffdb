// compressed-tensors: X.weight_packed, integers of 1 to 8 bits in 32-bit words ("pack-quantized"),
// or MXFP4.
#include <cstring>
#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_request.h"
#include "engine/formats/packed_codes.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr std::string_view kIntegers = "pack-quantized";
constexpr std::string_view kMxfp4 = "mxfp4-pack-quantized";

// The scheme of the module, in a format that has such a tensor.
absl::StatusOr<const CompressedScheme*> SchemeFor(const MatrixRequest& request,
                                                  const StoredTensor& packed) {
  const QuantizationConfig& config = request.config;
  if (config.method != QuantMethod::kCompressedTensors) {
    return BadTensor(packed, "format", std::string(Name(config.method)),
                     "quant_method compressed-tensors in config.json");
  }
  const CompressedScheme* scheme = config.SchemeOf(request.module);
  if (scheme == nullptr) {
    return base::InvalidInput({.file = config.file,
                               .field = config.field,
                               .value = Printable(request.module),
                               .expected = "a config group that targets this module, which has "
                                           "packed weights, and no 'ignore' that names it"});
  }
  // Old files may lack the format where there is one only.
  if (scheme->format == kIntegers || (scheme->format.empty() && !scheme->is_float)) return scheme;
  if (scheme->format == kMxfp4) return scheme;
  return base::InvalidInput({.file = config.file,
                             .field = scheme->field + ".format",
                             .value = Printable(scheme->format),
                             .expected = fmt::format("{} or {}", kIntegers, kMxfp4)});
}

int64_t IntegerAt(const TensorView& tensor, int64_t index) {
  if (tensor.dtype == DType::kI32) {
    int32_t value;
    std::memcpy(&value, tensor.bytes.data() + index * 4, 4);
    return value;
  }
  int64_t value;
  std::memcpy(&value, tensor.bytes.data() + index * 8, 8);
  return value;
}

// weight_shape repeats the shape that the packed one no longer tells.
absl::Status CheckShape(const MatrixRequest& request, std::vector<const StoredTensor*>* tensors) {
  if (request.Find("weight_shape") == nullptr) return absl::OkStatus();
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* shape,
                           request.Require("weight_shape", {DType::kI64, DType::kI32}, {2}));
  Shape stored;
  for (int64_t i = 0; i < 2; ++i) stored.push_back(IntegerAt(shape->view, i));
  const Shape expected = {request.rows, request.columns};
  if (stored != expected) {
    return BadTensor(*shape, "content", ToString(stored), ToString(expected));
  }
  tensors->push_back(shape);
  return absl::OkStatus();
}

absl::Status ReadZeros(const MatrixRequest& request, const CompressedScheme& scheme,
                       const ScaleBlocks& blocks, QuantizedRows* rows,
                       std::vector<const StoredTensor*>* tensors) {
  rows->zero = static_cast<float>(1 << (scheme.bits - 1));
  if (scheme.symmetric) return absl::OkStatus();
  if (scheme.strategy == ScaleStrategy::kTensor) {  // the one case that is not packed
    return base::InvalidInput({.file = request.config.file,
                               .field = scheme.field + ".weights.symmetric",
                               .value = "false",
                               .expected = "true where a tensor has one scale"});
  }
  const Shape grid = blocks.GridOf(request);
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* zeros,
                           request.Require("weight_zero_point", {DType::kI32},
                                           {CeilDiv(request.rows * scheme.bits, 32), grid[1]}));
  rows->zeros =
      PackedZeros(zeros->view, {.bits = scheme.bits, .word_stride = grid[1], .group_stride = 1});
  tensors->push_back(zeros);
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<StoredMatrix> FindPacked(const MatrixRequest& request) {
  INHOUSE_ASSIGN_OR_RETURN(
      const StoredTensor* packed,
      request.Require("weight_packed", {DType::kI32, DType::kU8, DType::kI8, DType::kF4E2M1}));
  INHOUSE_ASSIGN_OR_RETURN(const CompressedScheme* scheme, SchemeFor(request, *packed));
  if (scheme->format == kMxfp4) {
    INHOUSE_ASSIGN_OR_RETURN(
        packed, request.Require("weight_packed", {DType::kU8, DType::kI8, DType::kF4E2M1}));
    return FindMxfp4(request, *packed, "weight_scale");
  }
  if (scheme->is_float || scheme->strategy == ScaleStrategy::kBlock) {
    return base::InvalidInput({.file = request.config.file,
                               .field = scheme->field + ".weights",
                               .value = scheme->is_float ? "float" : "block",
                               .expected = "integers with a scale for a group, channel or tensor"});
  }
  INHOUSE_ASSIGN_OR_RETURN(
      packed, request.Require("weight_packed", {DType::kI32},
                              {request.rows, CeilDiv(request.columns * scheme->bits, 32)}));
  const ScaleBlocks blocks = BlocksOf(*scheme, request);
  const Shape grid = blocks.GridOf(request);
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales,
                           request.Require("weight_scale", kScaleTypes));
  if (!HoldsGrid(scales->view.shape, grid)) return BadShape(*scales, ToString(grid));

  QuantizedRows rows;
  rows.type = CodeType::kUnsigned;
  rows.bits = scheme->bits;
  rows.codes = RowPackedCodes(packed->view, scheme->bits);
  rows.group_columns = blocks.columns;
  rows.scales = GridValues(*scales, blocks, grid);
  std::vector<const StoredTensor*> tensors = {packed, scales};
  INHOUSE_RETURN_IF_ERROR(CheckShape(request, &tensors));
  INHOUSE_RETURN_IF_ERROR(ReadZeros(request, *scheme, blocks, &rows, &tensors));
  if (request.Find("weight_g_idx") != nullptr) {
    INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* indices,
                             request.Require("weight_g_idx", {DType::kI32}, {request.columns}));
    INHOUSE_ASSIGN_OR_RETURN(rows.column_groups,
                             ReadGroupIndices(*indices, grid[1], blocks.columns));
    tensors.push_back(indices);
  }
  return Assemble(request, std::move(rows), std::move(tensors));
}

}  // namespace inhouse::engine
