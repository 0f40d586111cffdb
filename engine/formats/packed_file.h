// The file of `inhouse pack`: weights as the kernels of one level read them, ready to be mapped.
//
// A cache of a checkpoint, not a checkpoint: it holds the panels of the matrix products and says of
// which model and for which kernels. Layout: docs/file-formats.md.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "base/file.h"
#include "base/new_file.h"
#include "engine/formats/checkpoint.h"

namespace inhouse::engine {

// The panels of one stored matrix.
struct PackedSection {
  std::string name = {};    // of the matrix in the checkpoint
  std::string type = {};    // as stored: "BF16", "Q4_K"
  std::string kernel = {};  // whose panels these are
  int64_t rows = 0;
  int64_t columns = 0;
  int64_t panel_rows = 0;
  int64_t panel_bytes = 0;
  int64_t offset = 0;       // from the beginning of the data, a multiple of 64
  std::string sha256 = {};  // of the panels; "" in a description that has none yet

  int64_t panels() const { return (rows + panel_rows - 1) / panel_rows; }
  int64_t bytes() const { return panels() * panel_bytes; }
};

struct PackedHeader {
  std::string isa = {};          // for which it was made; for messages
  std::string fingerprint = {};  // of the checkpoint, 64 hexadecimal digits
  int64_t data_bytes = 0;
  std::vector<PackedSection> sections = {};  // in the order of their offsets
};

inline constexpr int64_t kPackedDataAlignment = 2 << 20;
inline constexpr int64_t kPackedHeaderBytesMax = 64 << 20;
inline constexpr std::string_view kPackedExtension = ".inhouse-pack";

// SHA-256 over names, types, shapes and places of all tensors and samples of their bytes: changes
// with any other checkpoint that was ever written, reads little.
std::string Fingerprint(const Checkpoint& checkpoint);

// What a whole file begins with, up to the data.
std::string PackedPreamble(const PackedHeader& header);

// The JSON of a preamble. `path` is for messages.
absl::StatusOr<PackedHeader> ParsePackedJson(const std::string& path, std::string_view text);

// Reads and checks everything but the panels. `bytes` is the whole file.
absl::StatusOr<PackedHeader> ParsePacked(const std::string& path, std::span<const std::byte> bytes);

// A mapped file. Immutable; any thread may read.
class PackedFile {
 public:
  static absl::StatusOr<std::unique_ptr<PackedFile>> Open(const std::string& path);

  const std::string& path() const { return file_->path(); }
  int64_t file_bytes() const { return static_cast<int64_t>(file_->bytes().size()); }
  const PackedHeader& header() const { return header_; }
  std::span<const std::byte> data() const;
  std::span<const std::byte> data(const PackedSection& section) const;

  // FailedPrecondition that says what differs, unless this file holds these sections of this
  // checkpoint.
  absl::Status Matches(const PackedHeader& wanted) const;
  // Reads all panels and compares their digests. `progress` gets bytes done and in all, and returns
  // false to cancel.
  absl::Status Verify(const std::function<bool(int64_t, int64_t)>& progress) const;

 private:
  PackedFile(std::unique_ptr<base::MappedFile> file, PackedHeader header)
      : file_(std::move(file)), header_(std::move(header)) {}
  std::unique_ptr<base::MappedFile> file_;
  PackedHeader header_;
};

}  // namespace inhouse::engine
