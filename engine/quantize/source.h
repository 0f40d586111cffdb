// A checkpoint of any kind seen as a Hugging Face directory: tensors under their Hugging Face
// names, in the order of the layers, readable row by row as float32.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/checkpoint.h"
#include "engine/formats/stored_matrix.h"
#include "engine/tensor/shape.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

struct SourceTensor {
  std::string name;  // "model.layers.0.self_attn.q_proj.weight"
  Shape shape;       // as Hugging Face has it, of the weights themselves
  // The tensor; of a quantized matrix the one that holds its codes.
  const StoredTensor* stored = nullptr;
  std::optional<StoredMatrix> matrix = {};  // of two dimensions and with a floating value
  // Row i of a matrix is stored row row_order[i], element i of a vector stored element
  // row_order[i]; empty = in order (GGUF llama files permute q and k).
  std::vector<int64_t> row_order = {};

  bool is_matrix() const { return shape.size() == 2; }
  bool assembled() const { return matrix && matrix->assembled(); }
  int64_t stored_bytes() const;
  int64_t rows() const { return shape.size() < 2 ? 1 : ElementCount(shape) / shape.back(); }
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  // "model.layers.0.self_attn.q_proj" of "….weight"; "" for other tensors.
  std::string module() const;
};

// Immutable; any thread may read. The checkpoint must outlive it.
class Source {
 public:
  // InvalidArgument, naming file and tensor, for GGUF architectures and tensors without a Hugging
  // Face counterpart.
  static absl::StatusOr<std::unique_ptr<Source>> Open(const Checkpoint& checkpoint);

  const std::vector<SourceTensor>& tensors() const { return tensors_; }
  // config.json, without a quantization_config. Of a GGUF file: made from its metadata.
  const nlohmann::ordered_json& config() const { return config_; }
  bool from_gguf() const { return checkpoint_.gguf.has_value(); }
  const Checkpoint& checkpoint() const { return checkpoint_; }

  // Rows [begin, begin + n) of `tensor`, dequantized: n * columns() floats.
  void ReadRows(const SourceTensor& tensor, int64_t begin, int64_t n, float* out) const;
  // Tells the system that the tensor's bytes are not needed any more.
  void Release(const SourceTensor& tensor) const;

 private:
  explicit Source(const Checkpoint& checkpoint) : checkpoint_(checkpoint) {}
  absl::Status ReadDirectory();
  absl::Status ReadGgufFile();

  const Checkpoint& checkpoint_;
  nlohmann::ordered_json config_;
  std::vector<SourceTensor> tensors_;
};

}  // namespace inhouse::engine
