#include "engine/formats/safetensors_json.h"

#include <optional>
#include <utility>
#include <vector>

#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

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

}  // namespace

absl::Status ReadSafetensorsJson(const std::string& path, std::string_view text,
                                 uint64_t file_offset, SafetensorsHeader* header) {
  return HeaderReader(path, header).Parse(text, file_offset);
}

}  // namespace inhouse::engine
