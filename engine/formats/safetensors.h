// Safetensors: one file, or shards listed by model.safetensors.index.json. Layout:
// docs/file-formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/formats/tensor_table.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace inhouse::engine {

struct SafetensorsEntry {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
  uint64_t begin = 0;  // offsets from the start of the file
  uint64_t end = 0;
};

// What a header says, checked against the size of the file.
struct SafetensorsHeader {
  std::vector<SafetensorsEntry> tensors;  // in the order of their bytes
  std::map<std::string, std::string> metadata;
  uint64_t data_offset = 0;
};

// The largest header that is read, as in the reference implementation.
inline constexpr uint64_t kSafetensorsHeaderBytesMax = 100'000'000;

// Reads the header of a whole file that lies at `bytes`. InvalidArgument that names `path` (only
// used for messages), offset, field and expectation, unless every byte of the file belongs to the
// header or to exactly one tensor of the right size.
absl::StatusOr<SafetensorsHeader> ParseSafetensors(const std::string& path,
                                                   std::span<const std::byte> bytes);

// Maps the file and adds its tensors to `table`.
absl::Status ReadSafetensors(const std::string& path, TensorTable* table);

// weight_map of an index: the file that holds each tensor. File names are plain names (no
// directories): a downloaded index must not reach outside of its directory.
absl::StatusOr<std::map<std::string, std::string>> ParseSafetensorsIndex(const std::string& path,
                                                                         std::string_view text);

// Reads an index and all its shards, which lie beside it. Every tensor of the index must be in the
// shard that the index names.
absl::Status ReadSafetensorsShards(const std::string& index_path, TensorTable* table);

}  // namespace inhouse::engine
