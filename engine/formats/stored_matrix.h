// A weight matrix of a checkpoint as rows of one type, whatever tensors it is made of.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "engine/formats/tensor_table.h"
#include "engine/tensor/tensor_view.h"

namespace inhouse::engine {

// Makes rows out of codes, scales and zero points that stand in tensors of their own. Immutable;
// any thread may call.
class RowAssembler {
 public:
  virtual ~RowAssembler() = default;
  // Bytes of one row in the first tensor of the matrix, if that holds the codes row after row; 0 if
  // the codes of a row are scattered.
  virtual int64_t code_row_bytes() const { return 0; }
  // Writes the rows [begin, begin + n) one after another. `codes`: where the rows of the first
  // tensor were copied to, from row `begin` on; null = read them from the file's map.
  virtual void Assemble(int64_t begin, int64_t n, const std::byte* codes, std::byte* out) const = 0;
};

// [rows, columns] in one type: that of the tensor where the file has the rows as they are, a block
// type of dtype.h (kF8Group128, kI4Group32, kMXFP4, ...) or kF32 where they are assembled. A view:
// the table's maps must outlive it. Cheap to copy; immutable; any thread may read.
class StoredMatrix {
 public:
  // What an assembled matrix consists of. `name` is for messages.
  struct Assembled {
    std::string name;
    DType dtype;
    int64_t rows;
    int64_t columns;
    std::vector<const StoredTensor*> tensors;
    std::shared_ptr<const RowAssembler> assembler;
  };

  StoredMatrix() = default;
  // A tensor of rank 2 as it stands in its file.
  explicit StoredMatrix(const StoredTensor& tensor);
  // Rows in memory that belongs to no file.
  StoredMatrix(std::string name, TensorView view);
  explicit StoredMatrix(Assembled assembled);

  const std::string& name() const { return name_; }
  DType dtype() const { return dtype_; }
  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t row_bytes() const { return RowBytes(dtype_, columns_); }
  // The tensors it is made of, and their bytes in the files.
  const std::vector<const StoredTensor*>& tensors() const { return tensors_; }
  int64_t stored_bytes() const;

  // Whether rows are assembled, that is, whether Rows() needs staging memory.
  bool assembled() const { return assembler_ != nullptr; }
  // Points rows[i] at row begin + i, i < n: in the file's map, or in `staging` (n * row_bytes()
  // bytes, any alignment). Many rows at a time are cheaper than one: some formats interleave them.
  void Rows(int64_t begin, int64_t n, std::byte* staging, const std::byte** rows) const {
    Rows(begin, n, nullptr, staging, rows);
  }
  // The same from `stored`, a copy of the n * stored_row_bytes() bytes that stand from row `begin`
  // on in the first tensor; null = from the map.
  void Rows(int64_t begin, int64_t n, const std::byte* stored, std::byte* staging,
            const std::byte** rows) const;
  // Bytes that a row takes in the first tensor; 0 if rows do not follow one another in one, or if
  // there is no file.
  int64_t stored_row_bytes() const;
  const std::byte* Row(int64_t row, std::byte* staging) const {
    const std::byte* out = nullptr;
    Rows(row, 1, staging, &out);
    return out;
  }

 private:
  std::string name_;
  DType dtype_ = DType::kF32;
  int64_t rows_ = 0;
  int64_t columns_ = 0;
  std::vector<const StoredTensor*> tensors_;
  const std::byte* plain_ = nullptr;
  std::shared_ptr<const RowAssembler> assembler_;
};

}  // namespace inhouse::engine
