// What is asked of the readers of quantized matrices, one file each, and what they share. Used by
// matrix_finder.cc only.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/quantization_config.h"
#include "engine/formats/quantized_rows.h"
#include "engine/formats/stored_matrix.h"

namespace inhouse::engine {

struct MatrixRequest {
  const TensorTable& tensors;
  const QuantizationConfig& config;
  std::string module;
  int64_t rows;
  int64_t columns;

  // "model.layers.0.mlp.up_proj.weight" for "weight"; Find gives null if there is none.
  std::string NameOf(std::string_view suffix) const;
  const StoredTensor* Find(std::string_view suffix) const;
  // The tensor, its type and its shape checked (a shape that is not given is not).
  absl::StatusOr<const StoredTensor*> Require(std::string_view suffix,
                                              std::initializer_list<DType> types) const;
  absl::StatusOr<const StoredTensor*> Require(std::string_view suffix,
                                              std::initializer_list<DType> types,
                                              const Shape& shape) const;
};

// Types of scales.
inline constexpr std::initializer_list<DType> kScaleTypes = {DType::kF32, DType::kF16, DType::kBF16,
                                                             DType::kF8E8M0};

inline int64_t CeilDiv(int64_t a, int64_t b) { return a / b + (a % b != 0 ? 1 : 0); }

absl::Status BadTensor(const StoredTensor& tensor, std::string_view what, std::string value,
                       std::string expected);
absl::Status BadShape(const StoredTensor& tensor, std::string expected);

// Rectangles of rows and columns that share a scale.
struct ScaleBlocks {
  int64_t rows;
  int64_t columns;

  Shape GridOf(const MatrixRequest& request) const {
    return {CeilDiv(request.rows, rows), CeilDiv(request.columns, columns)};
  }
};

// The blocks of a config group.
ScaleBlocks BlocksOf(const CompressedScheme& scheme, const MatrixRequest& request);

// Whether a tensor of this shape holds a value for each of the blocks: [rows, columns] of the grid,
// also [rows] of a grid with one column, and a scalar of a grid with one value.
bool HoldsGrid(const Shape& shape, const Shape& grid);
std::unique_ptr<const GroupValues> GridValues(const StoredTensor& tensor, const ScaleBlocks& blocks,
                                              const Shape& grid);

// Reads group indices: nothing if they are all -1 or say the same as groups of `group_columns`
// consecutive columns.
absl::StatusOr<std::vector<int32_t>> ReadGroupIndices(const StoredTensor& tensor, int64_t groups,
                                                      int64_t group_columns);

// Puts it together; `tensors` begins with the one that holds the codes.
StoredMatrix Assemble(const MatrixRequest& request, QuantizedRows rows,
                      std::vector<const StoredTensor*> tensors);

// X.weight in 8 bits (FP8, INT8), or FP4, with its scales in a tensor called `scale`.
absl::StatusOr<StoredMatrix> FindScaledBytes(const MatrixRequest& request, std::string_view scale);
// X.weight_packed of compressed-tensors.
absl::StatusOr<StoredMatrix> FindPacked(const MatrixRequest& request);
// X.qweight of AWQ and GPTQ.
absl::StatusOr<StoredMatrix> FindAwq(const MatrixRequest& request);
absl::StatusOr<StoredMatrix> FindGptq(const MatrixRequest& request);

// MXFP4 of safetensors: two codes a byte, low nibble first, and an E8M0 exponent for 32.
absl::StatusOr<StoredMatrix> FindMxfp4(const MatrixRequest& request, const StoredTensor& codes,
                                       std::string_view scale);

}  // namespace inhouse::engine
