// Any bytes as a file of `inhouse pack`, and as the JSON in one (which a digest guards): refused,
// or sections that lie within the data.
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "base/check.h"
#include "engine/formats/packed_file.h"

using inhouse::engine::PackedHeader;

namespace {

void Check(const absl::StatusOr<PackedHeader>& header) {
  if (!header.ok()) return;
  int64_t end = 0;
  for (const auto& section : header->sections) {
    INHOUSE_CHECK(section.offset >= end && section.bytes() > 0, "an overlap");
    end = section.offset + section.bytes();
  }
  INHOUSE_CHECK(end <= header->data_bytes, "beyond the data");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::span<const std::byte> bytes(reinterpret_cast<const std::byte*>(data), size);
  Check(inhouse::engine::ParsePacked("fuzz.inhouse-pack", bytes));
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  Check(inhouse::engine::ParsePackedJson("fuzz.inhouse-pack", text));
  return 0;
}
