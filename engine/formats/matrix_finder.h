// Finds the weight matrix of a module, however the checkpoint stores it: as it is, or quantized in
// one of the published formats (docs/file-formats.md). No conversion: rows are views or are
// assembled one panel at a time.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/quantization_config.h"
#include "engine/formats/stored_matrix.h"

namespace inhouse::engine {

// The tensors that are there decide; config.json says what they cannot say themselves. Reads, apart
// from headers, zero points and group indices only. The checkpoint must outlive the finder and its
// matrices. Immutable; any thread may ask.
class MatrixFinder {
 public:
  // Fails on a quantization method that is not read, and on fields out of range.
  static absl::StatusOr<MatrixFinder> Create(const Checkpoint& checkpoint);

  const QuantizationConfig& config() const { return config_; }

  // Whether the checkpoint has weights of this module in any form.
  bool Has(std::string_view module) const;

  // [rows, columns] of "model.layers.0.self_attn.q_proj". Errors name file, tensor, value and
  // expectation.
  absl::StatusOr<StoredMatrix> Find(std::string_view module, int64_t rows, int64_t columns) const;

 private:
  MatrixFinder(const Checkpoint& checkpoint, QuantizationConfig config)
      : checkpoint_(&checkpoint), config_(std::move(config)) {}

  const Checkpoint* checkpoint_;
  QuantizationConfig config_;
};

}  // namespace inhouse::engine
