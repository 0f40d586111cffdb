#include "engine/formats/stored_matrix.h"

#include <utility>

#include "base/check.h"

namespace inhouse::engine {

StoredMatrix::StoredMatrix(const StoredTensor& tensor) : StoredMatrix(tensor.name, tensor.view) {
  tensors_ = {&tensor};
}

StoredMatrix::StoredMatrix(std::string name, TensorView view)
    : name_(std::move(name)),
      dtype_(view.dtype),
      rows_(view.rows()),
      columns_(view.columns()),
      plain_(view.bytes.data()) {
  INHOUSE_CHECK(view.shape.size() == 2, "a matrix has two dimensions");
}

StoredMatrix::StoredMatrix(Assembled assembled)
    : name_(std::move(assembled.name)),
      dtype_(assembled.dtype),
      rows_(assembled.rows),
      columns_(assembled.columns),
      tensors_(std::move(assembled.tensors)),
      assembler_(std::move(assembled.assembler)) {}

int64_t StoredMatrix::stored_bytes() const {
  if (tensors_.empty()) return rows_ * row_bytes();
  int64_t bytes = 0;
  for (const StoredTensor* tensor : tensors_) {
    bytes += static_cast<int64_t>(tensor->view.bytes.size());
  }
  return bytes;
}

int64_t StoredMatrix::stored_row_bytes() const {
  if (tensors_.empty()) return 0;
  return assembled() ? assembler_->code_row_bytes() : row_bytes();
}

void StoredMatrix::Rows(int64_t begin, int64_t n, const std::byte* stored, std::byte* staging,
                        const std::byte** rows) const {
  const std::byte* first = staging;
  if (assembled()) {
    assembler_->Assemble(begin, n, stored, staging);
  } else {
    first = stored != nullptr ? stored : plain_ + begin * row_bytes();
  }
  for (int64_t i = 0; i < n; ++i) rows[i] = first + i * row_bytes();
}

}  // namespace inhouse::engine
