#include "engine/formats/safetensors_writer.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <tuple>
#include <utility>
#include <variant>

#include "base/status.h"
#include "base/utf8.h"
#include "engine/formats/printable.h"
#include "engine/formats/safetensors.h"
#include "engine/formats/tensor_table.h"
#include "fmt/format.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

// The order of types in files of the reference implementation, the last first: by alignment.
constexpr std::array kTypeOrder = {DType::kBool,   DType::kF4E2M1, DType::kU8,     DType::kI8,
                                   DType::kF8E5M2, DType::kF8E4M3, DType::kF8E8M0, DType::kI16,
                                   DType::kF16,    DType::kBF16,   DType::kI32,    DType::kF32,
                                   DType::kF64,    DType::kI64};

// -1 for types that safetensors does not have.
int TypeRank(DType dtype) {
  const auto* found = std::find(kTypeOrder.begin(), kTypeOrder.end(), dtype);
  return found == kTypeOrder.end() ? -1 : static_cast<int>(found - kTypeOrder.begin());
}

std::string Field(std::string_view name) { return fmt::format("tensor '{}'", Printable(name)); }

std::string Quoted(const std::string& text) { return nlohmann::json(text).dump(); }

// The beginning of the header: "{", and the metadata if there is any.
absl::StatusOr<std::string> MetadataText(const std::string& path,
                                         const std::map<std::string, std::string>& metadata) {
  if (metadata.empty()) return std::string("{");
  std::string fields;
  for (const auto& [key, value] : metadata) {
    if (!base::IsValidUtf8(key) || !base::IsValidUtf8(value)) {
      return base::InvalidInput({.file = path,
                                 .field = fmt::format("__metadata__: '{}'", Printable(key)),
                                 .expected = "UTF-8"});
    }
    fields += fmt::format("{}{}:{}", fields.empty() ? "" : ",", Quoted(key), Quoted(value));
  }
  return fmt::format("{{\"__metadata__\":{{{}}}", fields);
}

absl::Status CheckSpec(const std::string& path, const SafetensorsSpec& tensor) {
  const auto bad = [&](std::string value, std::string expected) {
    return base::InvalidInput({.file = path,
                               .field = Field(tensor.name),
                               .value = std::move(value),
                               .expected = std::move(expected)});
  };
  if (tensor.name == "__metadata__" || !base::IsValidUtf8(tensor.name)) {
    return bad("", "a name in UTF-8 other than __metadata__");
  }
  if (TypeRank(tensor.dtype) < 0) {
    return bad(std::string(Name(tensor.dtype)), "a type that safetensors has");
  }
  const auto size = TensorBytes(tensor.dtype, tensor.shape);
  if (const auto* expected = std::get_if<std::string>(&size)) {
    return bad(ToString(tensor.shape), *expected);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::unique_ptr<SafetensorsWriter>> SafetensorsWriter::Create(
    const std::string& path, std::vector<SafetensorsSpec> tensors,
    const std::map<std::string, std::string>& metadata) {
  std::unique_ptr<SafetensorsWriter> writer(new SafetensorsWriter(path));
  INHOUSE_ASSIGN_OR_RETURN(const std::string header, writer->Layout(std::move(tensors), metadata));
  INHOUSE_RETURN_IF_ERROR(writer->Open(header));
  return writer;
}

SafetensorsWriter::~SafetensorsWriter() {
  if (fd_ >= 0) close(fd_);
  if (!temporary_.empty()) unlink(temporary_.c_str());
}

// Decides where each tensor stands; returns the length and the header.
absl::StatusOr<std::string> SafetensorsWriter::Layout(
    std::vector<SafetensorsSpec> tensors, const std::map<std::string, std::string>& metadata) {
  for (const SafetensorsSpec& tensor : tensors) {
    INHOUSE_RETURN_IF_ERROR(CheckSpec(path_, tensor));
  }
  std::sort(tensors.begin(), tensors.end(), [](const auto& a, const auto& b) {
    return std::tuple(-TypeRank(a.dtype), std::string_view(a.name)) <
           std::tuple(-TypeRank(b.dtype), std::string_view(b.name));
  });

  INHOUSE_ASSIGN_OR_RETURN(std::string text, MetadataText(path_, metadata));
  uint64_t place = 0;
  for (const SafetensorsSpec& tensor : tensors) {
    const uint64_t size = std::get<uint64_t>(TensorBytes(tensor.dtype, tensor.shape));
    // Sizes are below 2^63 each: the sum is checked before it can wrap.
    if (size > static_cast<uint64_t>(INT64_MAX) - kSafetensorsHeaderBytesMax - 8 - place) {
      return base::InvalidInput(
          {.file = path_, .field = Field(tensor.name), .expected = "a file below 2^63 bytes"});
    }
    if (!places_.try_emplace(tensor.name, Place{place, place + size}).second) {
      return base::InvalidInput(
          {.file = path_, .field = Field(tensor.name), .expected = "each tensor once"});
    }
    text += fmt::format("{}{}:{{\"dtype\":\"{}\",\"shape\":[{}],\"data_offsets\":[{},{}]}}",
                        text == "{" ? "" : ",", Quoted(tensor.name), Name(tensor.dtype),
                        fmt::join(tensor.shape, ","), place, place + size);
    place += size;
  }
  text += "}";
  text.resize((text.size() + 7) / 8 * 8, ' ');
  if (text.size() > kSafetensorsHeaderBytesMax) {
    return base::InputError(
        absl::StatusCode::kResourceExhausted,
        {.file = path_,
         .field = "header",
         .value = fmt::format("{}", text.size()),
         .expected = fmt::format("at most {} bytes", kSafetensorsHeaderBytesMax),
         .hint = "Write several files"});
  }

  const uint64_t data_offset = 8 + text.size();
  for (auto& [name, tensor_place] : places_) {
    tensor_place.next += data_offset;
    tensor_place.end += data_offset;
  }
  file_bytes_ = data_offset + place;
  std::string length(8, '\0');
  for (size_t i = 0; i < 8; ++i) length[i] = static_cast<char>(text.size() >> (8 * i) & 0xFFU);
  return length + text;
}

absl::Status SafetensorsWriter::Open(std::string_view header) {
  std::string name = path_ + ".XXXXXX";
  fd_ = mkostemp(name.data(), O_CLOEXEC);
  if (fd_ < 0) return base::OsError(errno, name, "create");
  temporary_ = std::move(name);
  // A full disk is better met now than after an hour of work. Where a file system cannot reserve,
  // only the limit on the size of a file is met early.
  const auto bytes = static_cast<off_t>(file_bytes_);
  int failed = fallocate(fd_, 0, 0, bytes);
  if (failed != 0 && (errno == EOPNOTSUPP || errno == ENOSYS)) failed = ftruncate(fd_, bytes);
  if (failed != 0) {
    return base::OsError(errno, path_, fmt::format("reserve {} bytes for", file_bytes_));
  }
  return WriteAt(0, header);
}

absl::Status SafetensorsWriter::WriteAt(uint64_t offset, std::string_view bytes) {
  while (!bytes.empty()) {
    const ssize_t n = pwrite(fd_, bytes.data(), bytes.size(), static_cast<off_t>(offset));
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return base::OsError(errno, temporary_, "write");
    bytes.remove_prefix(static_cast<size_t>(n));
    offset += static_cast<uint64_t>(n);
  }
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Append(std::string_view name, std::span<const std::byte> bytes) {
  const auto found = places_.find(name);
  if (fd_ < 0 || found == places_.end()) {
    return base::InvalidInput(
        {.file = path_, .field = Field(name), .expected = "a tensor of this file, not finished"});
  }
  Place& place = found->second;
  if (bytes.size() > place.end - place.next) {
    return base::InvalidInput(
        {.file = path_,
         .field = Field(name),
         .value = fmt::format("{} more bytes", bytes.size()),
         .expected = fmt::format("at most {} more bytes", place.end - place.next)});
  }
  INHOUSE_RETURN_IF_ERROR(
      WriteAt(place.next, {reinterpret_cast<const char*>(bytes.data()), bytes.size()}));
  place.next += bytes.size();
  return absl::OkStatus();
}

absl::Status SafetensorsWriter::Finish() {
  for (const auto& [name, place] : places_) {
    if (place.next == place.end) continue;
    return base::InputError(
        absl::StatusCode::kFailedPrecondition,
        {.file = path_,
         .field = Field(name),
         .expected = fmt::format("{} more bytes before the end", place.end - place.next)});
  }
  if (fd_ < 0) {
    return base::InputError(absl::StatusCode::kFailedPrecondition,
                            {.file = path_, .expected = "a file that is not finished"});
  }
  if (fchmod(fd_, 0644) != 0) return base::OsError(errno, temporary_, "set the mode of");
  if (fsync(fd_) != 0) return base::OsError(errno, temporary_, "sync");
  const int closed = close(std::exchange(fd_, -1));
  if (closed != 0) return base::OsError(errno, temporary_, "close");
  if (rename(temporary_.c_str(), path_.c_str()) != 0) return base::OsError(errno, path_, "replace");
  temporary_.clear();
  const size_t slash = path_.rfind('/');
  const std::string directory = slash == std::string::npos ? "." : path_.substr(0, slash + 1);
  if (const int dir = open(directory.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC); dir >= 0) {
    fsync(dir);  // makes the rename itself durable; some file systems refuse, which is no loss
    close(dir);
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
