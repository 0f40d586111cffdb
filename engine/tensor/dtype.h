// Element and block types of stored tensors: safetensors dtypes and GGUF ("ggml") block types.
#pragma once

#include <cstdint>
#include <optional>
#include <string_view>

namespace inhouse::engine {

enum class DType : uint8_t {
  kF64,
  kF32,
  kF16,
  kBF16,
  kI64,
  kI32,
  kI16,
  kI8,
  kU8,
  kBool,
  kF8E4M3,
  kF8E5M2,
  kF8E8M0,
  kF4E2M1,  // two codes a byte, low nibble first
  // GGUF blocks. Layouts: docs/file-formats.md.
  kQ8_0,
  kQ4_0,
  kQ4_1,
  kQ5_0,
  kQ5_1,
  kQ2_K,
  kQ3_K,
  kQ4_K,
  kQ5_K,
  kQ6_K,
  kMXFP4,
};

// `block_elements` consecutive elements of a row take `block_bytes` bytes.
struct DTypeInfo {
  std::string_view name;  // "BF16", "Q4_K": as the file formats spell it
  int block_elements;     // 1 for plain types
  int block_bytes;        // kF4E2M1: 2 elements, 1 byte
};

const DTypeInfo& Info(DType dtype);
inline std::string_view Name(DType dtype) { return Info(dtype).name; }

// Bytes of a row of `elements`; `elements` must be a multiple of the block.
int64_t RowBytes(DType dtype, int64_t elements);

// The type that safetensors calls `name` ("F32", "F8_E4M3", ...), or none.
std::optional<DType> FromSafetensorsName(std::string_view name);

// The type with this number in a GGUF file (ggml_type), or none if it is not supported.
std::optional<DType> FromGgmlType(uint32_t type);

}  // namespace inhouse::engine
