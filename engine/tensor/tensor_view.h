// A typed, shaped view of bytes that somebody else owns (a mapped file or an arena).
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace inhouse::engine {

// Row-major; the last dimension is contiguous and consists of whole blocks of the dtype.
struct TensorView {
  DType dtype = DType::kF32;
  Shape shape;
  std::span<const std::byte> bytes;

  // A tensor of rank >= 1 seen as rows of its last dimension.
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : ElementCount(shape) / columns(); }
  int64_t row_bytes() const { return RowBytes(dtype, columns()); }
  const std::byte* row(int64_t index) const { return bytes.data() + index * row_bytes(); }
};

}  // namespace inhouse::engine
