// Any bytes as a GGUF file: refused, or tensors of the right size within the file, in order.
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <variant>

#include "base/check.h"
#include "engine/formats/gguf.h"

using inhouse::engine::GgufMetadata;
using inhouse::engine::ParseGguf;
using inhouse::engine::TensorBytes;

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  auto header = ParseGguf("fuzz.gguf", bytes);
  if (!header.ok()) return 0;
  uint64_t place = header->data_offset;
  for (const auto& tensor : header->tensors) {
    INHOUSE_CHECK(tensor.begin >= place && tensor.end <= size, "an overlap, or outside the file");
    const auto wanted = TensorBytes(tensor.dtype, tensor.shape);
    INHOUSE_CHECK(std::get<uint64_t>(wanted) == tensor.end - tensor.begin, "a wrong size");
    place = tensor.end;
  }
  // Every getter on every key: a wrong type is a status.
  const GgufMetadata metadata("fuzz.gguf", std::move(header->values));
  for (const auto& [key, value] : metadata.values()) {
    (void)metadata.Int(key, 0, 10);
    (void)metadata.DoubleOr(key, 0, -1, 1);
    (void)metadata.BoolOr(key, false);
    (void)metadata.String(key);
    (void)metadata.Strings(key);
    (void)metadata.Ints(key);
    (void)metadata.Doubles(key);
  }
  return 0;
}
