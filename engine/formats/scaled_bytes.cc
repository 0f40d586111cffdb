// FP8 of DeepSeek, transformers and compressed-tensors, INT8 of compressed-tensors: a byte a code
// and a scale for a rectangle of the matrix. FP4 of DeepSeek V4.
#include <utility>

#include "base/status.h"
#include "engine/formats/matrix_request.h"
#include "engine/formats/packed_codes.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// The blocks that a scale of FP8 may have, likeliest first. A file that says its block size has
// that one; V4 stores 128 x 128 or 32 x 32 under "scale"; other files tell by the shape.
std::vector<ScaleBlocks> Fp8Blocks(const MatrixRequest& request, std::string_view scale) {
  std::vector<ScaleBlocks> blocks;
  if (request.config.weight_block) {
    blocks.push_back({request.config.weight_block->first, request.config.weight_block->second});
    if (scale != "scale") return blocks;
  } else {
    blocks.push_back({request.rows, request.columns});
    blocks.push_back({1, request.columns});
  }
  blocks.push_back({128, 128});
  blocks.push_back({32, 32});
  return blocks;
}

absl::StatusOr<ScaleBlocks> ChooseBlocks(const MatrixRequest& request, const StoredTensor& scale,
                                         const std::vector<ScaleBlocks>& candidates) {
  std::string expected;
  for (const ScaleBlocks& blocks : candidates) {
    const Shape grid = blocks.GridOf(request);
    if (HoldsGrid(scale.view.shape, grid)) return blocks;
    expected += fmt::format("{}{} for blocks of {} x {}", expected.empty() ? "" : ", or ",
                            ToString(grid), blocks.rows, blocks.columns);
  }
  return BadShape(scale, std::move(expected));
}

absl::StatusOr<const CompressedScheme*> SchemeFor(const MatrixRequest& request,
                                                  const StoredTensor& weight, bool is_float) {
  const CompressedScheme* scheme = request.config.SchemeOf(request.module);
  if (scheme == nullptr) {
    return BadTensor(weight, "type", std::string(Name(weight.view.dtype)),
                     fmt::format("a floating type: {} in {} ignores this module or does not "
                                 "target it",
                                 request.config.field, request.config.file));
  }
  const std::string_view wanted =
      is_float ? "a group of 8-bit floats" : "a group of 8-bit integers";
  if (scheme->is_float != is_float || scheme->bits != 8) {
    return base::InvalidInput(
        {.file = request.config.file,
         .field = scheme->field + ".weights",
         .value = fmt::format("{} {} bits", scheme->is_float ? "float" : "int", scheme->bits),
         .expected = fmt::format("{}, as tensor '{}' has", wanted, weight.name)});
  }
  return scheme;
}

// Zero points of INT8 stand beside the scales, as int8 in the same grid.
absl::Status ReadZeros(const MatrixRequest& request, const CompressedScheme& scheme,
                       const ScaleBlocks& blocks, QuantizedRows* rows,
                       std::vector<const StoredTensor*>* tensors) {
  if (scheme.symmetric && request.Find("weight_zero_point") == nullptr) return absl::OkStatus();
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* zeros,
                           request.Require("weight_zero_point", {DType::kI8}));
  const Shape grid = blocks.GridOf(request);
  if (!HoldsGrid(zeros->view.shape, grid)) return BadShape(*zeros, ToString(grid));
  rows->zeros = GridValues(*zeros, blocks, grid);
  tensors->push_back(zeros);
  return absl::OkStatus();
}

// Rows of E8M0 exponents and nibbles, 32 columns a block.
class Mxfp4Assembler final : public RowAssembler {
 public:
  Mxfp4Assembler(const StoredTensor& codes, const StoredTensor& scales, int64_t columns)
      : codes_(codes.view.bytes.data()), scales_(scales.view.bytes.data()), blocks_(columns / 32) {}

  int64_t code_row_bytes() const override { return blocks_ * 16; }
  void Assemble(int64_t begin, int64_t n, const std::byte* codes, std::byte* out) const override {
    const std::byte* scales = scales_ + begin * blocks_;
    if (codes == nullptr) codes = codes_ + begin * blocks_ * 16;
    for (int64_t i = 0; i < n * blocks_; ++i, codes += 16, out += 17) {
      *out = scales[i];
      SplitNibbles(codes, out + 1);
    }
  }

 private:
  const std::byte* codes_;
  const std::byte* scales_;
  const int64_t blocks_;
};

}  // namespace

absl::StatusOr<StoredMatrix> FindMxfp4(const MatrixRequest& request, const StoredTensor& codes,
                                       std::string_view scale) {
  if (request.columns % 32 != 0) {
    return BadTensor(codes, "columns", fmt::format("{}", request.columns), "a multiple of 32");
  }
  const bool typed = codes.view.dtype == DType::kF4E2M1;  // its shape counts codes
  const Shape shape = {request.rows, typed ? request.columns : request.columns / 2};
  if (codes.view.shape != shape) return BadShape(codes, ToString(shape));
  INHOUSE_ASSIGN_OR_RETURN(
      const StoredTensor* scales,
      request.Require(scale, {DType::kF8E8M0, DType::kU8}, {request.rows, request.columns / 32}));
  return StoredMatrix(
      {.name = codes.name,
       .dtype = DType::kMXFP4,
       .rows = request.rows,
       .columns = request.columns,
       .tensors = {&codes, scales},
       .assembler = std::make_shared<Mxfp4Assembler>(codes, *scales, request.columns)});
}

absl::StatusOr<StoredMatrix> FindScaledBytes(const MatrixRequest& request, std::string_view scale) {
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* weight,
                           request.Require("weight", {DType::kF8E4M3, DType::kF8E5M2, DType::kI8,
                                                      DType::kU8, DType::kF4E2M1}));
  const DType type = weight->view.dtype;
  const bool is_float = type == DType::kF8E4M3 || type == DType::kF8E5M2;
  const bool compressed = request.config.method == QuantMethod::kCompressedTensors;
  if (!is_float && !(compressed && type == DType::kI8)) {
    return FindMxfp4(request, *weight, scale);
  }
  const Shape shape = {request.rows, request.columns};
  if (weight->view.shape != shape) return BadShape(*weight, ToString(shape));
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* scales, request.Require(scale, kScaleTypes));

  QuantizedRows rows;
  rows.type = type == DType::kF8E4M3   ? CodeType::kE4M3
              : type == DType::kF8E5M2 ? CodeType::kE5M2
                                       : CodeType::kInt8;
  std::vector<const StoredTensor*> tensors = {weight, scales};
  ScaleBlocks blocks{};
  if (compressed) {
    INHOUSE_ASSIGN_OR_RETURN(const CompressedScheme* scheme, SchemeFor(request, *weight, is_float));
    INHOUSE_ASSIGN_OR_RETURN(blocks, ChooseBlocks(request, *scales, {BlocksOf(*scheme, request)}));
    if (!is_float) {
      INHOUSE_RETURN_IF_ERROR(ReadZeros(request, *scheme, blocks, &rows, &tensors));
    } else if (!scheme->symmetric) {
      return base::InvalidInput({.file = request.config.file,
                                 .field = scheme->field + ".weights.symmetric",
                                 .value = "false",
                                 .expected = "true for 8-bit floats"});
    }
  } else {
    INHOUSE_ASSIGN_OR_RETURN(blocks, ChooseBlocks(request, *scales, Fp8Blocks(request, scale)));
  }
  rows.codes = ByteCodes(weight->view);
  rows.group_columns = blocks.columns;
  rows.scales = GridValues(*scales, blocks, blocks.GridOf(request));
  return Assemble(request, std::move(rows), std::move(tensors));
}

}  // namespace inhouse::engine
