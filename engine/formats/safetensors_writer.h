// Writes a safetensors file whose tensors arrive piece by piece.
#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "engine/tensor/dtype.h"
#include "engine/tensor/shape.h"

namespace inhouse::engine {

struct SafetensorsSpec {
  std::string name;
  DType dtype = DType::kF32;
  Shape shape;
};

// All names, types and shapes are known first; then the bytes of the tensors come in any order,
// each tensor from its first byte to its last. Memory does not grow with the tensors. The bytes go
// to a temporary file beside `path`, which Finish() renames: readers see the old file or the whole
// new one, also after a crash. The same input gives the same bytes, in the layout of the reference
// implementation (wide types first, then by name), so that every tensor is aligned to its element.
//
// Owned by its creator; one thread at a time. Errors of the file system are statuses with the
// system's message (ResourceExhausted when the disk is full: space is reserved in Create); a tensor
// that does not exist or gets too many bytes is InvalidArgument. After an error, destroy it: the
// temporary file goes.
class SafetensorsWriter {
 public:
  // InvalidArgument for a name that comes twice, is reserved or not UTF-8, a GGUF block type, or a
  // shape that the format cannot hold.
  static absl::StatusOr<std::unique_ptr<SafetensorsWriter>> Create(
      const std::string& path, std::vector<SafetensorsSpec> tensors,
      const std::map<std::string, std::string>& metadata);
  ~SafetensorsWriter();
  SafetensorsWriter(const SafetensorsWriter&) = delete;
  SafetensorsWriter& operator=(const SafetensorsWriter&) = delete;

  // The next bytes of a tensor.
  absl::Status Append(std::string_view name, std::span<const std::byte> bytes);

  // FailedPrecondition if a tensor is not complete. Syncs and renames; nothing may follow.
  absl::Status Finish();

  uint64_t file_bytes() const { return file_bytes_; }  // of the finished file

 private:
  struct Place {
    uint64_t next = 0;  // offset in the file of the next byte
    uint64_t end = 0;
  };

  explicit SafetensorsWriter(std::string path) : path_(std::move(path)) {}
  absl::StatusOr<std::string> Layout(std::vector<SafetensorsSpec> tensors,
                                     const std::map<std::string, std::string>& metadata);
  absl::Status Open(std::string_view header);
  absl::Status WriteAt(uint64_t offset, std::string_view bytes);

  std::string path_;
  std::string temporary_;  // empty when there is none
  int fd_ = -1;
  uint64_t file_bytes_ = 0;
  std::map<std::string, Place, std::less<>> places_;
};

}  // namespace inhouse::engine
