#include "engine/formats/matrix_request.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "base/status.h"
#include "engine/formats/packed_codes.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {

std::string MatrixRequest::NameOf(std::string_view suffix) const {
  return fmt::format("{}.{}", module, suffix);
}

const StoredTensor* MatrixRequest::Find(std::string_view suffix) const {
  return tensors.Find(NameOf(suffix));
}

absl::StatusOr<const StoredTensor*> MatrixRequest::Require(
    std::string_view suffix, std::initializer_list<DType> types) const {
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* tensor, tensors.Require(NameOf(suffix)));
  if (std::find(types.begin(), types.end(), tensor->view.dtype) != types.end()) return tensor;
  std::vector<std::string_view> names;
  for (const DType type : types) names.push_back(Name(type));
  return BadTensor(*tensor, "type", std::string(Name(tensor->view.dtype)),
                   fmt::format("{}", fmt::join(names, " or ")));
}

absl::StatusOr<const StoredTensor*> MatrixRequest::Require(std::string_view suffix,
                                                           std::initializer_list<DType> types,
                                                           const Shape& shape) const {
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* tensor, Require(suffix, types));
  if (tensor->view.shape != shape) return BadShape(*tensor, ToString(shape));
  return tensor;
}

absl::Status BadTensor(const StoredTensor& tensor, std::string_view what, std::string value,
                       std::string expected) {
  return base::InvalidInput({.file = tensor.file == nullptr ? "" : tensor.file->path(),
                             .field = fmt::format("tensor '{}': {}", Printable(tensor.name), what),
                             .value = std::move(value),
                             .expected = std::move(expected)});
}

absl::Status BadShape(const StoredTensor& tensor, std::string expected) {
  return BadTensor(tensor, "shape", ToString(tensor.view.shape), std::move(expected));
}

ScaleBlocks BlocksOf(const CompressedScheme& scheme, const MatrixRequest& request) {
  switch (scheme.strategy) {
    case ScaleStrategy::kTensor:
      return {request.rows, request.columns};
    case ScaleStrategy::kChannel:
      return {1, request.columns};
    case ScaleStrategy::kGroup:
      return {1, scheme.group_columns};
    case ScaleStrategy::kBlock:
      return {scheme.block_rows, scheme.block_columns};
  }
  return {request.rows, request.columns};
}

bool HoldsGrid(const Shape& shape, const Shape& grid) {
  if (shape == grid) return true;
  if (grid == Shape{1, 1}) return ElementCount(shape) == 1;
  return grid[1] == 1 && shape == Shape{grid[0]};
}

std::unique_ptr<const GroupValues> GridValues(const StoredTensor& tensor, const ScaleBlocks& blocks,
                                              const Shape& grid) {
  return TensorValues(tensor.view,
                      {.rows_per_value = blocks.rows, .row_stride = grid[1], .group_stride = 1});
}

absl::StatusOr<std::vector<int32_t>> ReadGroupIndices(const StoredTensor& tensor, int64_t groups,
                                                      int64_t group_columns) {
  std::vector<int32_t> indices(static_cast<size_t>(tensor.view.columns()));
  std::memcpy(indices.data(), tensor.view.bytes.data(), tensor.view.bytes.size());
  if (std::all_of(indices.begin(), indices.end(), [](int32_t i) { return i == -1; })) {
    return std::vector<int32_t>();
  }
  bool runs = true;
  for (size_t i = 0; i < indices.size(); ++i) {
    if (indices[i] < 0 || indices[i] >= groups) {
      return BadTensor(tensor, fmt::format("element {}", i), fmt::format("{}", indices[i]),
                       fmt::format("a group from 0 to {}", groups - 1));
    }
    runs = runs && indices[i] == static_cast<int64_t>(i) / group_columns;
  }
  if (runs) indices.clear();
  return indices;
}

StoredMatrix Assemble(const MatrixRequest& request, QuantizedRows rows,
                      std::vector<const StoredTensor*> tensors) {
  rows.rows = request.rows;
  rows.columns = request.columns;
  const DType dtype = SmallestRowType(rows);
  return StoredMatrix({.name = tensors.front()->name,
                       .dtype = dtype,
                       .rows = request.rows,
                       .columns = request.columns,
                       .tensors = std::move(tensors),
                       .assembler = MakeRowAssembler(std::move(rows), dtype)});
}

}  // namespace inhouse::engine
