// GGUF v2 and v3: key-value metadata and tensors. Layout: docs/file-formats.md (ggml's gguf.md).
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/formats/tensor_table.h"

namespace inhouse::engine {

// Integers of every width are widened; nested arrays are refused.
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

 private:
  std::string path_;
  std::map<std::string, GgufValue, std::less<>> values_;
};

// Reads the header of one file (the first of a split set: the others are found by name) and adds
// its tensors to `table`.
absl::StatusOr<GgufMetadata> ReadGguf(const std::string& path, TensorTable* table);

}  // namespace inhouse::engine
