// What the weight files of a checkpoint hold: names, dtypes, shapes and views of the mapped bytes.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "base/file.h"
#include "engine/tensor/tensor_view.h"

namespace inhouse::engine {

// The bytes that a tensor takes, or, for a shape that no file may have, what was expected of it (a
// product that fits, whole blocks in a row). Never overflows, whatever the file claims.
std::variant<uint64_t, std::string> TensorBytes(DType dtype, const Shape& shape);

struct StoredTensor {
  std::string name;
  // The bytes stand where the file has them: they need not be aligned to the element (safetensors
  // aligns nothing). Load with memcpy or unaligned instructions.
  TensorView view;
  const base::MappedFile* file = nullptr;  // owned by the table
  uint64_t file_offset = 0;                // of the first byte
};

// Tensors by name, and the maps that they live in. Immutable after loading; any thread may read.
class TensorTable {
 public:
  // Adds a map; the table owns it. Returns the stable pointer for StoredTensor::file.
  const base::MappedFile* AddFile(std::unique_ptr<base::MappedFile> file);
  // AlreadyExists if the name is taken (also by another shard).
  absl::Status Add(StoredTensor tensor);

  const StoredTensor* Find(std::string_view name) const;  // null if there is none
  // NotFound that names the checkpoint and the tensor.
  absl::StatusOr<const StoredTensor*> Require(std::string_view name) const;
  // Require() and a shape check: InvalidArgument that names file, tensor, shape and expected shape.
  absl::StatusOr<const StoredTensor*> Require(std::string_view name, const Shape& shape) const;

  const std::map<std::string, StoredTensor, std::less<>>& tensors() const { return tensors_; }
  const std::vector<std::unique_ptr<base::MappedFile>>& files() const { return files_; }
  uint64_t total_bytes() const;  // of all tensors

 private:
  std::map<std::string, StoredTensor, std::less<>> tensors_;
  std::vector<std::unique_ptr<base::MappedFile>> files_;
};

}  // namespace inhouse::engine
