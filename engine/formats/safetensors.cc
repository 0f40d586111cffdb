#include "engine/formats/safetensors.h"

#include <algorithm>
#include <memory>
#include <string_view>
#include <tuple>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kLengthBytes = 8;
constexpr size_t kRankMax = 64;  // as NumPy and PyTorch
constexpr int kDepthMax = 16;    // the format needs 3; unknown fields of a tensor are passed over

std::string TensorField(std::string_view name, std::string_view field) {
  return fmt::format("tensor '{}'{}{}", Printable(name), field.empty() ? "" : ": ", field);
}

// {"name": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
//  "__metadata__": {"key": "value"}}
class HeaderReader final : public JsonEvents {
 public:
  HeaderReader(std::string path, SafetensorsHeader* header)
      : JsonEvents(std::move(path), kDepthMax), header_(header) {}

 private:
  enum class In { kDocument, kRoot, kMetadata, kTensor, kShape, kOffsets, kUnknown };
  enum Field : unsigned { kDtype = 1, kShapeField = 2, kOffsetsField = 4, kAll = 7 };

  bool OnOpen(bool is_object) override {
    switch (in_) {
      case In::kDocument:
        if (!is_object) return Fail({.expected = "a header that is a JSON object"});
        in_ = In::kRoot;
        return true;
      case In::kRoot:
        if (!is_object) return Fail({.field = Here(), .expected = "an object"});
        if (key_ == "__metadata__") {
          in_ = In::kMetadata;
          return true;
        }
        in_ = In::kTensor;
        seen_ = 0;
        offsets_.clear();
        header_->tensors.emplace_back().name = key_;
        return true;
      case In::kTensor:
        return OpenField(is_object);
      case In::kMetadata:
      case In::kShape:
      case In::kOffsets:
        return Fail({.field = Here(), .expected = Wanted()});
      case In::kUnknown:
        return true;
    }
    return false;
  }

  // A field of a tensor whose value is a list or an object.
  bool OpenField(bool is_object) {
    if (field_ == "dtype" || (is_object && (field_ == "shape" || field_ == "data_offsets"))) {
      return Fail({.field = Here(), .expected = Wanted()});
    }
    in_ = field_ == "shape" ? In::kShape : field_ == "data_offsets" ? In::kOffsets : In::kUnknown;
    unknown_depth_ = depth();
    return true;
  }

  bool OnClose() override {
    switch (in_) {
      case In::kDocument:
        return false;  // nothing is open
      case In::kRoot:
        in_ = In::kDocument;
        return true;
      case In::kMetadata:
        in_ = In::kRoot;
        return true;
      case In::kTensor:
        in_ = In::kRoot;
        return CloseTensor();
      case In::kOffsets:
        if (offsets_.size() != 2) return Fail({.field = Here(), .expected = Wanted()});
        in_ = In::kTensor;
        return true;
      case In::kShape:
        in_ = In::kTensor;
        return true;
      case In::kUnknown:
        if (depth() < unknown_depth_) in_ = In::kTensor;
        return true;
    }
    return false;
  }

  bool CloseTensor() {
    if (seen_ != kAll) {
      return Fail({.field = TensorField(key_, ""), .expected = "dtype, shape and data_offsets"});
    }
    // From the start of the data for now; ParseSafetensors moves them once it has checked them.
    header_->tensors.back().begin = offsets_[0];
    header_->tensors.back().end = offsets_[1];
    return true;
  }

  bool OnKey(std::string key) override {
    if (in_ == In::kUnknown) return true;
    if (in_ == In::kRoot) {
      if (key == "__metadata__" && std::exchange(metadata_seen_, true)) {
        return Fail({.field = key, .expected = "each key once"});
      }
      key_ = std::move(key);
      return true;
    }
    field_ = std::move(key);
    if (in_ == In::kMetadata) return true;
    const unsigned bit = field_ == "dtype"          ? kDtype
                         : field_ == "shape"        ? kShapeField
                         : field_ == "data_offsets" ? kOffsetsField
                                                    : 0U;
    if ((seen_ & bit) != 0) return Fail({.field = Here(), .expected = "each field once"});
    seen_ |= bit;
    return true;
  }

  bool OnScalar(nlohmann::json value) override {
    switch (in_) {
      case In::kDocument:
        return Fail({.value = JsonText(value), .expected = "a header that is a JSON object"});
      case In::kRoot:
        if (key_ == "__metadata__" && value.is_null()) return true;
        return Fail({.field = Here(), .value = JsonText(value), .expected = "an object"});
      case In::kMetadata:
        return MetadataValue(value);
      case In::kTensor:
        return TensorValue(value);
      case In::kShape:
      case In::kOffsets:
        return Number(value);
      case In::kUnknown:
        return true;
    }
    return false;
  }

  bool MetadataValue(nlohmann::json& value) {
    auto* text = value.get_ptr<std::string*>();
    if (text == nullptr) {
      return Fail({.field = Here(), .value = JsonText(value), .expected = "a string"});
    }
    if (!header_->metadata.try_emplace(field_, std::move(*text)).second) {
      return Fail({.field = Here(), .expected = "each key once"});
    }
    return true;
  }

  // dtype, or an unknown field that is not a list or an object.
  bool TensorValue(const nlohmann::json& value) {
    if (field_ == "shape" || field_ == "data_offsets") {
      return Fail({.field = Here(), .value = JsonText(value), .expected = Wanted()});
    }
    if (field_ != "dtype") return true;
    const auto* name = value.get_ptr<const std::string*>();
    const auto dtype = name == nullptr ? std::nullopt : FromSafetensorsName(*name);
    if (!dtype) {
      return Fail({.field = Here(), .value = JsonText(value), .expected = Wanted()});
    }
    header_->tensors.back().dtype = *dtype;
    return true;
  }

  // A dimension or an offset. "-0", "1.0" and "1e3" are no counts.
  bool Number(const nlohmann::json& value) {
    const bool is_shape = in_ == In::kShape;
    if (!value.is_number_unsigned()) {
      return Fail({.field = Here(), .value = JsonText(value), .expected = Wanted()});
    }
    const auto number = value.get<uint64_t>();
    if (number > INT64_MAX) {
      return Fail({.field = Here(), .value = JsonText(value), .expected = "a number below 2^63"});
    }
    Shape& shape = header_->tensors.back().shape;
    if (is_shape ? shape.size() >= kRankMax : offsets_.size() >= 2) {
      return Fail({.field = Here(), .expected = Wanted()});
    }
    if (is_shape) {
      shape.push_back(static_cast<int64_t>(number));
    } else {
      offsets_.push_back(number);
    }
    return true;
  }

  std::string Here() const {
    if (in_ == In::kMetadata) return fmt::format("__metadata__: '{}'", Printable(field_));
    if (in_ == In::kRoot) return key_ == "__metadata__" ? key_ : TensorField(key_, "");
    return TensorField(key_, Printable(field_));
  }

  std::string Wanted() const {
    if (in_ == In::kMetadata) return "a string";
    if (field_ == "dtype") {
      return "one of F64 F32 F16 BF16 I64 I32 I16 I8 U8 BOOL F8_E4M3 F8_E5M2 F8_E8M0 F4";
    }
    if (field_ == "shape") return fmt::format("a list of at most {} counts", kRankMax);
    return "two offsets [begin, end]";
  }

  SafetensorsHeader* header_;
  In in_ = In::kDocument;
  int unknown_depth_ = 0;
  unsigned seen_ = 0;  // fields of the tensor that is open
  bool metadata_seen_ = false;
  std::string key_;    // in the root
  std::string field_;  // in a tensor or in __metadata__
  std::vector<uint64_t> offsets_;
};

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
  INHOUSE_RETURN_IF_ERROR(HeaderReader(path, &header).Parse(text, kLengthBytes));
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
