// The header of one GGUF file.
#include "engine/formats/gguf.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <iterator>
#include <set>
#include <utility>

#include "base/status.h"
#include "engine/formats/gguf_cursor.h"
#include "engine/formats/gguf_value.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kKeyBytesMax = 65535;  // gguf.md
// gguf.md says 64; some writers were built with GGML_MAX_NAME=128.
constexpr uint64_t kNameBytesMax = 127;
constexpr uint32_t kDimensionsMax = 4;  // GGML_MAX_DIMS
// Of keys and of tensors. The largest models have some ten thousand tensors, in many files.
constexpr uint64_t kCountMax = 1'000'000;
constexpr int64_t kAlignmentMax = 1LL << 30;

struct Counts {
  uint64_t tensors = 0;
  uint64_t values = 0;
};

absl::StatusOr<Counts> ReadPreamble(GgufCursor& cursor) {
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t magic, cursor.Number<uint32_t>());
  if (magic != 0x46554747U) {
    return cursor.Bad(0, fmt::format("0x{:08x}", magic), "the letters GGUF (0x46554747)");
  }
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t version, cursor.Number<uint32_t>());
  if (version != 0 && (version & 0xFFFFU) == 0) {
    return cursor.Bad(4, fmt::format("0x{:08x}", version),
                      "GGUF version 2 or 3; this is a big-endian file, which is not supported");
  }
  if (version != 2 && version != 3) {
    return cursor.Bad(4, fmt::format("{}", version), "GGUF version 2 or 3");
  }
  Counts counts;
  // 24 and 13 bytes are the least that a tensor and a key-value take.
  const auto read_count = [&cursor](std::string_view what, uint64_t bytes_min,
                                    uint64_t* count) -> absl::Status {
    const uint64_t start = cursor.offset();
    INHOUSE_ASSIGN_OR_RETURN(*count, cursor.Number<uint64_t>());
    const uint64_t most = std::min(kCountMax, cursor.rest() / bytes_min);
    if (*count <= most) return absl::OkStatus();
    return cursor.Bad(start, fmt::format("{}", *count),
                      fmt::format("at most {} {} in a file of this size", most, what));
  };
  INHOUSE_RETURN_IF_ERROR(read_count("tensors", 24, &counts.tensors));
  INHOUSE_RETURN_IF_ERROR(read_count("key-values", 13, &counts.values));
  return counts;
}

absl::Status ReadKeyValue(GgufCursor& cursor, GgufHeader* header) {
  const uint64_t start = cursor.offset();
  cursor.set_field("key");
  INHOUSE_ASSIGN_OR_RETURN(const std::string_view key, cursor.String(kKeyBytesMax));
  if (key.empty()) return cursor.Bad(start, "", "a name of at least one byte");
  cursor.set_field(fmt::format("key '{}'", Printable(key)));
  INHOUSE_ASSIGN_OR_RETURN(GgufValue value, ReadGgufValue(cursor));
  if (!header->values.try_emplace(std::string(key), std::move(value)).second) {
    return cursor.Bad(start, "", "each key once");
  }
  return absl::OkStatus();
}

// Names of types that ggml has and this reader does not, for messages.
std::string_view UnsupportedTypeName(uint32_t type) {
  constexpr std::string_view kNames[] = {
      "",         "",         "",        "",      "Q4_2",   "Q4_3",  "",      "",
      "",         "Q8_1",     "",        "",      "",       "",      "",      "Q8_K",
      "IQ2_XXS",  "IQ2_XS",   "IQ3_XXS", "IQ1_S", "IQ4_NL", "IQ3_S", "IQ2_S", "IQ4_XS",
      "",         "",         "",        "",      "",       "IQ1_M", "",      "Q4_0_4_4",
      "Q4_0_4_8", "Q4_0_8_8", "TQ1_0",   "TQ2_0"};
  return type < std::size(kNames) ? kNames[type] : "";
}

// [begin, end) of the tensor are relative to the data until PlaceTensors has checked them.
absl::StatusOr<GgufTensor> ReadTensorInfo(GgufCursor& cursor, uint64_t alignment) {
  GgufTensor tensor;
  const uint64_t start = cursor.offset();
  cursor.set_field("tensor name");
  INHOUSE_ASSIGN_OR_RETURN(const std::string_view name, cursor.String(kNameBytesMax));
  if (name.empty()) return cursor.Bad(start, "", "a name of at least one byte");
  tensor.name = name;
  cursor.set_field(fmt::format("tensor '{}'", Printable(name)));

  const uint64_t rank_offset = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t rank, cursor.Number<uint32_t>());
  if (rank == 0 || rank > kDimensionsMax) {
    return cursor.Bad(rank_offset, fmt::format("{}", rank),
                      fmt::format("1 to {} dimensions", kDimensionsMax));
  }
  for (uint32_t i = 0; i < rank; ++i) {
    const uint64_t at = cursor.offset();
    INHOUSE_ASSIGN_OR_RETURN(const uint64_t dimension, cursor.Number<uint64_t>());
    if (dimension == 0 || dimension > INT64_MAX) {
      return cursor.Bad(at, fmt::format("{}", dimension), "a dimension from 1 to 2^63 - 1");
    }
    tensor.shape.insert(tensor.shape.begin(), static_cast<int64_t>(dimension));
  }

  const uint64_t type_offset = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t type, cursor.Number<uint32_t>());
  const auto dtype = FromGgmlType(type);
  if (!dtype) {
    return cursor.Bad(type_offset, fmt::format("{} {}", type, UnsupportedTypeName(type)),
                      "a type of F32 F16 BF16 F64 I8 I16 I32 I64 Q8_0 Q4_0 Q4_1 Q5_0 Q5_1 Q2_K "
                      "Q3_K Q4_K Q5_K Q6_K MXFP4");
  }
  tensor.dtype = *dtype;
  const auto size = TensorBytes(*dtype, tensor.shape);
  if (const auto* expected = std::get_if<std::string>(&size)) {
    return cursor.Bad(rank_offset, ToString(tensor.shape), *expected);
  }

  const uint64_t at = cursor.offset();
  INHOUSE_ASSIGN_OR_RETURN(tensor.begin, cursor.Number<uint64_t>());
  if (tensor.begin % alignment != 0) {
    return cursor.Bad(at, fmt::format("{}", tensor.begin),
                      fmt::format("an offset that is a multiple of {}", alignment));
  }
  if (__builtin_add_overflow(tensor.begin, std::get<uint64_t>(size), &tensor.end)) {
    return cursor.Bad(at, fmt::format("{}", tensor.begin), "an offset within the file");
  }
  return tensor;
}

// The tensors must tile the data section, each beginning at the next multiple of the alignment, as
// ggml demands; here in any order. Only padding may follow the last one.
absl::Status PlaceTensors(const GgufCursor& cursor, uint64_t file_bytes, uint64_t alignment,
                          GgufHeader* header) {
  std::sort(header->tensors.begin(), header->tensors.end(),
            [](const auto& a, const auto& b) { return a.begin < b.begin; });
  const uint64_t data_bytes =
      file_bytes > header->data_offset ? file_bytes - header->data_offset : 0;
  uint64_t place = 0;
  for (GgufTensor& tensor : header->tensors) {
    const auto bad = [&](std::string expected) {
      return base::InvalidInput(
          {.file = cursor.path(),
           .field = fmt::format("tensor '{}': offset", Printable(tensor.name)),
           .value = fmt::format("{}", tensor.begin),
           .expected = std::move(expected)});
    };
    const uint64_t size = tensor.end - tensor.begin;
    if (tensor.begin != place) {
      return bad(fmt::format("{}, behind the tensor before it: no holes and no overlaps", place));
    }
    if (tensor.end > data_bytes) {
      return bad(
          fmt::format("{} bytes of {} {} within the {} bytes of data from offset {}; the "
                      "file has {} bytes and is truncated",
                      size, Name(tensor.dtype), ToString(tensor.shape), data_bytes,
                      header->data_offset, file_bytes));
    }
    // No overflow: `end` is at most the size of the file.
    place = (tensor.end + alignment - 1) / alignment * alignment;
    tensor.begin += header->data_offset;
    tensor.end += header->data_offset;
  }
  if (data_bytes <= place) return absl::OkStatus();
  return base::InvalidInput(
      {.file = cursor.path(),
       .field = fmt::format("offset {}", header->data_offset + place),
       .expected = fmt::format("the end of the file after the last tensor, found {} more bytes",
                               data_bytes - place)});
}

absl::StatusOr<uint64_t> Alignment(const std::string& path, const GgufHeader& header) {
  const auto found = header.values.find("general.alignment");
  if (found == header.values.end()) return 32;
  const auto* value = std::get_if<int64_t>(&found->second);
  if (value == nullptr || *value < 8 || *value > kAlignmentMax ||
      !std::has_single_bit(static_cast<uint64_t>(*value))) {
    return base::InvalidInput(
        {.file = path,
         .field = "general.alignment",
         .value = value == nullptr ? "" : fmt::format("{}", *value),
         .expected = fmt::format("a power of two from 8 to {}", kAlignmentMax)});
  }
  return static_cast<uint64_t>(*value);
}

absl::Status CheckNamesOnce(const std::string& path, const GgufHeader& header) {
  std::set<std::string_view> names;
  for (const GgufTensor& tensor : header.tensors) {
    if (names.insert(tensor.name).second) continue;
    return base::InvalidInput({.file = path,
                               .field = fmt::format("tensor '{}'", Printable(tensor.name)),
                               .expected = "each tensor once"});
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<GgufHeader> ParseGguf(const std::string& path, std::span<const std::byte> bytes) {
  GgufHeader header;
  GgufCursor cursor(path, bytes);
  INHOUSE_ASSIGN_OR_RETURN(const Counts counts, ReadPreamble(cursor));
  for (uint64_t i = 0; i < counts.values; ++i) {
    INHOUSE_RETURN_IF_ERROR(ReadKeyValue(cursor, &header));
  }
  INHOUSE_ASSIGN_OR_RETURN(const uint64_t alignment, Alignment(path, header));
  for (uint64_t i = 0; i < counts.tensors; ++i) {
    INHOUSE_ASSIGN_OR_RETURN(GgufTensor tensor, ReadTensorInfo(cursor, alignment));
    header.tensors.push_back(std::move(tensor));
  }
  INHOUSE_RETURN_IF_ERROR(CheckNamesOnce(path, header));
  header.data_offset = (cursor.offset() + alignment - 1) / alignment * alignment;
  INHOUSE_RETURN_IF_ERROR(PlaceTensors(cursor, bytes.size(), alignment, &header));
  return header;
}

}  // namespace inhouse::engine
