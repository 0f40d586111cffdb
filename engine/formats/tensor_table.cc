#include "engine/formats/tensor_table.h"

#include <utility>

#include "base/status.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

std::string PathOf(const base::MappedFile* file) { return file == nullptr ? "" : file->path(); }

}  // namespace

std::variant<uint64_t, std::string> TensorBytes(DType dtype, const Shape& shape) {
  int64_t elements = 1;
  for (const int64_t dimension : shape) {
    if (dimension < 0) return fmt::format("no negative dimension");
    if (__builtin_mul_overflow(elements, dimension, &elements)) {
      return fmt::format("a product of dimensions below 2^63");
    }
  }
  const DTypeInfo& info = Info(dtype);
  const int64_t columns = shape.empty() ? 1 : shape.back();
  if (columns % info.block_elements != 0) {
    return fmt::format("a last dimension that is a multiple of {} (whole {} blocks)",
                       info.block_elements, info.name);
  }
  int64_t bytes = 0;
  if (__builtin_mul_overflow(elements / info.block_elements, static_cast<int64_t>(info.block_bytes),
                             &bytes)) {
    return fmt::format("a size below 2^63 bytes");
  }
  return static_cast<uint64_t>(bytes);
}

const base::MappedFile* TensorTable::AddFile(std::unique_ptr<base::MappedFile> file) {
  files_.push_back(std::move(file));
  return files_.back().get();
}

absl::Status TensorTable::Add(StoredTensor tensor) {
  std::string name = tensor.name;
  const auto [place, inserted] = tensors_.try_emplace(std::move(name), std::move(tensor));
  if (inserted) return absl::OkStatus();
  // try_emplace leaves `tensor` alone when the name is taken.
  return base::InputError(
      absl::StatusCode::kAlreadyExists,
      {.file = PathOf(tensor.file),
       .field = fmt::format("tensor '{}'", Printable(place->first)),
       .expected = fmt::format("each tensor once; '{}' has it too", PathOf(place->second.file))});
}

const StoredTensor* TensorTable::Find(std::string_view name) const {
  const auto found = tensors_.find(name);
  return found == tensors_.end() ? nullptr : &found->second;
}

absl::StatusOr<const StoredTensor*> TensorTable::Require(std::string_view name) const {
  if (const StoredTensor* tensor = Find(name)) return tensor;
  std::string where = files_.empty() ? "" : files_.front()->path();
  if (files_.size() > 1) where += fmt::format(" (and {} more)", files_.size() - 1);
  return base::InputError(
      absl::StatusCode::kNotFound,
      {.file = std::move(where),
       .field = fmt::format("tensor '{}'", Printable(name)),
       .expected = fmt::format("to be there, among {} tensors", tensors_.size())});
}

absl::StatusOr<const StoredTensor*> TensorTable::Require(std::string_view name,
                                                         const Shape& shape) const {
  INHOUSE_ASSIGN_OR_RETURN(const StoredTensor* tensor, Require(name));
  if (tensor->view.shape == shape) return tensor;
  return base::InvalidInput({.file = PathOf(tensor->file),
                             .field = fmt::format("tensor '{}': shape", Printable(name)),
                             .value = ToString(tensor->view.shape),
                             .expected = ToString(shape)});
}

uint64_t TensorTable::total_bytes() const {
  uint64_t total = 0;
  for (const auto& [name, tensor] : tensors_) total += tensor.view.bytes.size();
  return total;
}

}  // namespace inhouse::engine
