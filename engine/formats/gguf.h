// GGUF v2 and v3: key-value metadata and tensors. Layout: docs/file-formats.md (ggml's gguf.md).
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/tensor_table.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace inhouse::engine {

// Integers of every width are widened: to int64_t, or to uint64_t if they do not fit (not in
// arrays). Nested arrays are refused.
using GgufValue = std::variant<int64_t, uint64_t, double, bool, std::string, std::vector<int64_t>,
                               std::vector<double>, std::vector<bool>, std::vector<std::string>>;

// The key-values of a file. Immutable; any thread may read. Messages name the file and the key.
class GgufMetadata {
 public:
  GgufMetadata(std::string path, std::map<std::string, GgufValue, std::less<>> values)
      : path_(std::move(path)), values_(std::move(values)) {}

  const std::string& path() const { return path_; }
  const std::map<std::string, GgufValue, std::less<>>& values() const { return values_; }
  bool Has(std::string_view key) const { return values_.find(key) != values_.end(); }

  absl::StatusOr<int64_t> Int(std::string_view key, int64_t min, int64_t max) const;
  absl::StatusOr<int64_t> IntOr(std::string_view key, int64_t fallback, int64_t min,
                                int64_t max) const;
  absl::StatusOr<double> DoubleOr(std::string_view key, double fallback, double min,
                                  double max) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool fallback) const;
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<std::string> StringOr(std::string_view key, std::string_view fallback) const;
  // Null if absent; InvalidArgument if it is something else.
  absl::StatusOr<const std::vector<std::string>*> Strings(std::string_view key) const;
  absl::StatusOr<const std::vector<int64_t>*> Ints(std::string_view key) const;
  absl::StatusOr<const std::vector<double>*> Doubles(std::string_view key) const;

 private:
  const GgufValue* Find(std::string_view key) const;
  absl::Status Bad(std::string_view key, const GgufValue* value, std::string expected) const;

  std::string path_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

struct GgufTensor {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;         // outermost dimension first: the reverse of the file's order
  uint64_t begin = 0;  // from the start of the file
  uint64_t end = 0;
};

// What the header of one file says, checked against the size of the file.
struct GgufHeader {
  std::map<std::string, GgufValue, std::less<>> values;
  std::vector<GgufTensor> tensors;  // in the order of their bytes
  uint64_t data_offset = 0;         // where the tensors begin
};

// Reads the header of a whole file that lies at `bytes`. InvalidArgument that names `path` (only
// used for messages), offset, field and expectation. Never allocates more than a small multiple of
// the bytes that are really there.
absl::StatusOr<GgufHeader> ParseGguf(const std::string& path, std::span<const std::byte> bytes);

// Reads the header of one file (the first of a split set: the others are found by name, and their
// key-values are dropped) and adds its tensors to `table`.
absl::StatusOr<GgufMetadata> ReadGguf(const std::string& path, TensorTable* table);

}  // namespace inhouse::engine
