#include "engine/formats/safetensors.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/printable.h"
#include "engine/formats/safetensors_json.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kLengthBytes = 8;

std::string TensorField(std::string_view name, std::string_view field) {
  return fmt::format("tensor '{}'{}{}", Printable(name), field.empty() ? "" : ": ", field);
}

absl::Status CheckNamesOnce(const std::string& path, const SafetensorsHeader& header) {
  std::vector<std::string_view> names;
  names.reserve(header.tensors.size());
  for (const SafetensorsEntry& tensor : header.tensors) names.push_back(tensor.name);
  std::sort(names.begin(), names.end());
  const auto twice = std::adjacent_find(names.begin(), names.end());
  if (twice == names.end()) return absl::OkStatus();
  return base::InvalidInput(
      {.file = path,
       .field = fmt::format("offset {}: {}", kLengthBytes, TensorField(*twice, "")),
       .expected = "each tensor once in the header"});
}

// The tensors must tile the data: no hole, no overlap, nothing left at the end.
absl::Status PlaceTensors(const std::string& path, uint64_t file_bytes, SafetensorsHeader* header) {
  std::sort(header->tensors.begin(), header->tensors.end(), [](const auto& a, const auto& b) {
    return std::tie(a.begin, a.end, a.name) < std::tie(b.begin, b.end, b.name);
  });
  const uint64_t data_bytes = file_bytes - header->data_offset;
  uint64_t place = 0;
  for (SafetensorsEntry& tensor : header->tensors) {
    auto bad = [&](std::string_view field, std::string value, std::string expected) {
      return base::InvalidInput({.file = path,
                                 .field = TensorField(tensor.name, field),
                                 .value = std::move(value),
                                 .expected = std::move(expected)});
    };
    const std::string offsets = fmt::format("[{}, {}]", tensor.begin, tensor.end);
    if (tensor.begin != place || tensor.end < tensor.begin) {
      return bad("data_offsets", offsets,
                 fmt::format("to begin at {}, where the tensor before it ends: no holes and no "
                             "overlaps, and an end that is not before the begin",
                             place));
    }
    const auto size = TensorBytes(tensor.dtype, tensor.shape);
    if (const auto* expected = std::get_if<std::string>(&size)) {
      return bad("shape", ToString(tensor.shape), *expected);
    }
    const uint64_t bytes = std::get<uint64_t>(size);
    if (tensor.end - tensor.begin != bytes) {
      return bad(
          "data_offsets", offsets,
          fmt::format("{} bytes for {} {}", bytes, Name(tensor.dtype), ToString(tensor.shape)));
    }
    if (tensor.end > data_bytes) {
      return bad("data_offsets", offsets,
                 fmt::format("an end within the {} bytes of data from offset {}; the file has {} "
                             "bytes and is truncated",
                             data_bytes, header->data_offset, file_bytes));
    }
    place = tensor.end;
    tensor.begin += header->data_offset;
    tensor.end += header->data_offset;
  }
  if (place == data_bytes) return absl::OkStatus();
  return base::InvalidInput(
      {.file = path,
       .field = fmt::format("offset {}", header->data_offset + place),
       .expected = fmt::format("the end of the file after the last tensor, found {} more bytes",
                               data_bytes - place)});
}

uint64_t LittleEndian64(const std::byte* bytes) {
  uint64_t value = 0;
  for (int i = 7; i >= 0; --i) value = value << 8 | static_cast<uint64_t>(bytes[i]);
  return value;
}

}  // namespace

absl::StatusOr<SafetensorsHeader> ParseSafetensors(const std::string& path,
                                                   std::span<const std::byte> bytes) {
  auto bad = [&path](std::string_view field, std::string value, std::string expected) {
    return base::InvalidInput({.file = path,
                               .field = std::string(field),
                               .value = std::move(value),
                               .expected = std::move(expected)});
  };
  if (bytes.size() < kLengthBytes) {
    return bad("offset 0: header length", "",
               fmt::format("a safetensors file of at least 8 bytes, found {}", bytes.size()));
  }
  const uint64_t length = LittleEndian64(bytes.data());
  const uint64_t rest = bytes.size() - kLengthBytes;
  if (length > kSafetensorsHeaderBytesMax || length > rest) {
    return bad("offset 0: header length", fmt::format("{}", length),
               fmt::format("at most {}", std::min(rest, kSafetensorsHeaderBytesMax)));
  }
  const std::string_view text(reinterpret_cast<const char*>(bytes.data()) + kLengthBytes, length);
  if (text.starts_with("\xEF\xBB\xBF")) {  // the JSON reader would pass over it
    return bad("offset 8: header", "", "JSON text without a byte order mark");
  }
  SafetensorsHeader header;
  header.data_offset = kLengthBytes + length;
  INHOUSE_RETURN_IF_ERROR(ReadSafetensorsJson(path, text, kLengthBytes, &header));
  INHOUSE_RETURN_IF_ERROR(CheckNamesOnce(path, header));
  INHOUSE_RETURN_IF_ERROR(PlaceTensors(path, bytes.size(), &header));
  return header;
}

absl::Status ReadSafetensors(const std::string& path, TensorTable* table) {
  INHOUSE_ASSIGN_OR_RETURN(std::unique_ptr<base::MappedFile> mapped, base::MappedFile::Open(path));
  INHOUSE_ASSIGN_OR_RETURN(SafetensorsHeader header, ParseSafetensors(path, mapped->bytes()));
  const base::MappedFile* file = table->AddFile(std::move(mapped));
  for (SafetensorsEntry& entry : header.tensors) {
    StoredTensor tensor;
    tensor.name = std::move(entry.name);
    tensor.view = {.dtype = entry.dtype,
                   .shape = std::move(entry.shape),
                   .bytes = file->bytes().subspan(entry.begin, entry.end - entry.begin)};
    tensor.file = file;
    tensor.file_offset = entry.begin;
    INHOUSE_RETURN_IF_ERROR(table->Add(std::move(tensor)));
  }
  return absl::OkStatus();
}

}  // namespace inhouse::engine
