// Element and block types of stored tensors: safetensors dtypes, GGUF ("ggml") block types, and the
// blocks into which rows are assembled whose file keeps codes and scales in separate tensors.
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
  // Groups of 128 or 32 columns of a row with their scale: FP8 with block scales, INT8 and INT4 of
  // compressed-tensors, AWQ, GPTQ (formats/stored_matrix.h assembles them). In no file. A block is
  // a float32 scale, then (I4M) a float32 minimum, then the codes: E4M3; int8; or nibbles, of which
  // byte 16 i + j holds columns 32 i + j (low) and 32 i + 16 + j (high). The value of a code q is
  // scale * q; of a nibble scale * (q - 8); with a minimum scale * q + minimum.
  kF8Group128,
  kF8Group32,
  kI8Group128,
  kI8Group32,
  kI4Group128,
  kI4Group32,
  kI4MinGroup128,
  kI4MinGroup32,
};

inline constexpr int kDTypeCount = static_cast<int>(DType::kI4MinGroup32) + 1;

// `block_elements` consecutive elements of a row take `block_bytes` bytes.
struct DTypeInfo {
  std::string_view name;  // "BF16", "Q4_K": as the file formats spell it
  int block_elements;     // 1 for plain types
  int block_bytes;        // kF4E2M1: 2 elements, 1 byte
  bool ragged = false;    // a row may end inside its last block; the codes after its end are zero
};

const DTypeInfo& Info(DType dtype);
inline std::string_view Name(DType dtype) { return Info(dtype).name; }

// Bytes of a row of `elements`; `elements` must be a multiple of the block unless the type is
// ragged.
int64_t RowBytes(DType dtype, int64_t elements);

// The type that safetensors calls `name` ("F32", "F8_E4M3", ...), or none.
std::optional<DType> FromSafetensorsName(std::string_view name);

// The type with this number in a GGUF file (ggml_type), or none if it is not supported.
std::optional<DType> FromGgmlType(uint32_t type);

}  // namespace inhouse::engine
