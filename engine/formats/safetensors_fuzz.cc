// Any bytes as a safetensors file: refused, or tensors that tile the data.
#include <cstddef>
#include <cstdint>
#include <span>
#include <variant>

#include "base/check.h"
#include "engine/formats/safetensors.h"

using inhouse::engine::ParseSafetensors;
using inhouse::engine::TensorBytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  const auto header = ParseSafetensors("fuzz.safetensors", bytes);
  if (!header.ok()) return 0;
  uint64_t place = header->data_offset;
  for (const auto& tensor : header->tensors) {
    INHOUSE_CHECK(tensor.begin == place && tensor.end >= tensor.begin, "a hole or an overlap");
    const auto wanted = TensorBytes(tensor.dtype, tensor.shape);
    INHOUSE_CHECK(std::get<uint64_t>(wanted) == tensor.end - tensor.begin, "a wrong size");
    place = tensor.end;
  }
  INHOUSE_CHECK(place == size, "bytes that belong to nobody");
  return 0;
}
