// A position in the header of a GGUF file: little-endian numbers and strings, never behind the end.
#pragma once

#include <algorithm>
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/status.h"
#include "fmt/format.h"

namespace inhouse::engine {

// A header may take this much of a file, whatever its counts say. The largest vocabularies need a
// tenth of it; a file whose weights are read as strings by a lying count must not fill the memory.
inline constexpr uint64_t kGgufHeaderBytesMax = 128ULL << 20;

// One reader, one thread. Views into the bytes live as long as the file.
class GgufCursor {
 public:
  GgufCursor(std::string path, std::span<const std::byte> bytes)
      : path_(std::move(path)),
        bytes_(bytes.first(std::min<size_t>(bytes.size(), kGgufHeaderBytesMax))),
        cut_(bytes.size() > kGgufHeaderBytesMax) {}

  const std::string& path() const { return path_; }
  uint64_t offset() const { return offset_; }
  uint64_t rest() const { return bytes_.size() - offset_; }
  // What messages call the thing that is being read: "key 'general.name'".
  void set_field(std::string field) { field_ = std::move(field); }

  template <typename T>
  absl::StatusOr<T> Number() {
    if (rest() < sizeof(T)) return Truncated(sizeof(T));
    std::array<std::byte, sizeof(T)> raw;
    std::copy_n(bytes_.data() + offset_, sizeof(T), raw.begin());
    if constexpr (std::endian::native == std::endian::big) std::reverse(raw.begin(), raw.end());
    offset_ += sizeof(T);
    return std::bit_cast<T>(raw);
  }

  // u64 length, bytes.
  absl::StatusOr<std::string_view> String(uint64_t bytes_max) {
    const uint64_t start = offset_;
    INHOUSE_ASSIGN_OR_RETURN(const uint64_t length, Number<uint64_t>());
    const uint64_t most = std::min(bytes_max, rest());
    if (length > most) {
      return Bad(start, fmt::format("{}", length),
                 fmt::format("a string of at most {} bytes", most));
    }
    const std::string_view text(reinterpret_cast<const char*>(bytes_.data()) + offset_, length);
    offset_ += length;
    return text;
  }

  // InvalidInput for the value at `offset`.
  absl::Status Bad(uint64_t offset, std::string value, std::string expected) const {
    std::string field = fmt::format("offset {}", offset);
    if (!field_.empty()) field += ": " + field_;
    return base::InvalidInput({.file = path_,
                               .field = std::move(field),
                               .value = std::move(value),
                               .expected = std::move(expected)});
  }

 private:
  absl::Status Truncated(size_t bytes) const {
    return Bad(offset_, "",
               cut_ ? fmt::format("the header to end within {} bytes", kGgufHeaderBytesMax)
                    : fmt::format("{} more bytes of the header; the file ends at {}", bytes,
                                  bytes_.size()));
  }

  std::string path_;
  std::string field_;
  std::span<const std::byte> bytes_;
  bool cut_;  // the file goes on behind bytes_
  uint64_t offset_ = 0;
};

}  // namespace inhouse::engine
