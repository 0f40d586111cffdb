#include "engine/formats/config_json.h"

#include <cmath>
#include <utility>

#include "base/file.h"
#include "base/status.h"
#include "engine/formats/json_events.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

constexpr uint64_t kFileBytesMax = 64ULL << 20;
constexpr int kDepthMax = 64;
// A value takes two bytes in a file and up to a hundred in memory: a limit on their number bounds
// the memory. Official configs have a few hundred.
constexpr int kValuesMax = 1'000'000;

// Builds the document in memory. A key that comes twice keeps its last value, as in Python's json.
class DocumentReader final : public JsonEvents {
 public:
  DocumentReader(std::string path, nlohmann::json* root)
      : JsonEvents(std::move(path), kDepthMax), root_(root) {}

 private:
  bool OnOpen(bool is_object) override {
    if (depth() == 1 && !is_object) return Fail({.expected = "a JSON object"});
    nlohmann::json* place = Put(is_object ? nlohmann::json::object() : nlohmann::json::array());
    if (place == nullptr) return false;
    open_.push_back(place);
    return true;
  }
  bool OnClose() override {
    open_.pop_back();
    return true;
  }
  bool OnKey(std::string key) override {
    key_ = std::move(key);
    return true;
  }
  bool OnScalar(nlohmann::json value) override {
    if (depth() == 0) return Fail({.value = JsonText(value), .expected = "a JSON object"});
    return Put(std::move(value)) != nullptr;
  }

  // The address stays good while the value is open: a list grows only when its last child is
  // closed.
  nlohmann::json* Put(nlohmann::json value) {
    if (++values_ > kValuesMax) {
      Fail({.expected = fmt::format("at most {} values", kValuesMax)});
      return nullptr;
    }
    if (open_.empty()) {
      *root_ = std::move(value);
      return root_;
    }
    nlohmann::json& parent = *open_.back();
    if (parent.is_array()) {
      parent.push_back(std::move(value));
      return &parent.back();
    }
    nlohmann::json& slot = parent[key_];
    slot = std::move(value);
    return &slot;
  }

  nlohmann::json* root_;
  std::vector<nlohmann::json*> open_;
  std::string key_;
  int values_ = 0;
};

// The number as an integer, if it is one. 32768.0 counts: some exporters write it.
std::optional<int64_t> AsInteger(const nlohmann::json& value) {
  if (value.is_number_unsigned()) {
    const auto number = value.get<uint64_t>();
    if (number > INT64_MAX) return std::nullopt;
    return static_cast<int64_t>(number);
  }
  if (value.is_number_integer()) return value.get<int64_t>();
  if (!value.is_number_float()) return std::nullopt;
  const double number = value.get<double>();
  if (number != std::trunc(number) || std::fabs(number) > 0x1p53) return std::nullopt;
  return static_cast<int64_t>(number);
}

}  // namespace

absl::StatusOr<ConfigJson> ConfigJson::Parse(std::string path, std::string_view text) {
  nlohmann::json root;
  INHOUSE_RETURN_IF_ERROR(DocumentReader(path, &root).Parse(text));
  return ConfigJson(std::move(path), std::move(root));
}

absl::StatusOr<ConfigJson> ConfigJson::Load(const std::string& path) {
  INHOUSE_ASSIGN_OR_RETURN(const std::string text, base::ReadFile(path, kFileBytesMax));
  return Parse(path, text);
}

ConfigJson::ConfigJson(std::string path, nlohmann::json object)
    : path_(std::move(path)), object_(std::move(object)) {}

const nlohmann::json* ConfigJson::Find(std::string_view key) const {
  const auto found = object_.find(key);
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

bool ConfigJson::Has(std::string_view key) const { return Find(key) != nullptr; }

absl::Status ConfigJson::Bad(std::string_view key, const nlohmann::json* value,
                             std::string expected) const {
  return base::InvalidInput({.file = path_,
                             .field = prefix_ + Printable(key),
                             .value = value == nullptr ? "" : JsonText(*value),
                             .expected = std::move(expected)});
}

absl::Status ConfigJson::Missing(std::string_view key, std::string_view what) const {
  return Bad(key, nullptr, fmt::format("{}, it is missing", what));
}

absl::StatusOr<int64_t> ConfigJson::IntOf(std::string_view key, const nlohmann::json& value,
                                          IntRange range) const {
  const auto number = AsInteger(value);
  if (!number || *number < range.min || *number > range.max) {
    return Bad(key, &value, fmt::format("an integer from {} to {}", range.min, range.max));
  }
  return *number;
}

absl::StatusOr<int64_t> ConfigJson::Int(std::string_view key, IntRange range) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) {
    return Missing(key, fmt::format("an integer from {} to {}", range.min, range.max));
  }
  return IntOf(key, *value, range);
}

absl::StatusOr<int64_t> ConfigJson::IntOr(std::string_view key, int64_t fallback,
                                          IntRange range) const {
  return Has(key) ? Int(key, range) : fallback;
}

absl::StatusOr<double> ConfigJson::Double(std::string_view key, double min, double max) const {
  const std::string expected = fmt::format("a number from {} to {}", min, max);
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return Missing(key, expected);
  if (!value->is_number()) return Bad(key, value, expected);
  const double number = value->get<double>();
  if (!(number >= min && number <= max)) return Bad(key, value, expected);
  return number;
}

absl::StatusOr<double> ConfigJson::DoubleOr(std::string_view key, double fallback, double min,
                                            double max) const {
  return Has(key) ? Double(key, min, max) : fallback;
}

absl::StatusOr<bool> ConfigJson::BoolOr(std::string_view key, bool fallback) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return fallback;
  if (!value->is_boolean()) return Bad(key, value, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> ConfigJson::String(std::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return Missing(key, "a string");
  const auto* text = value->get_ptr<const std::string*>();
  if (text == nullptr) return Bad(key, value, "a string");
  return *text;
}

absl::StatusOr<std::string> ConfigJson::StringOr(std::string_view key,
                                                 std::string_view fallback) const {
  return Has(key) ? String(key) : std::string(fallback);
}

absl::StatusOr<std::vector<int64_t>> ConfigJson::Ints(std::string_view key, IntRange range) const {
  std::vector<int64_t> numbers;
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return numbers;
  if (!value->is_array()) {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t number, IntOf(key, *value, range));
    numbers.push_back(number);
    return numbers;
  }
  for (size_t i = 0; i < value->size(); ++i) {
    INHOUSE_ASSIGN_OR_RETURN(const int64_t number,
                             IntOf(fmt::format("{}[{}]", key, i), (*value)[i], range));
    numbers.push_back(number);
  }
  return numbers;
}

absl::StatusOr<std::vector<std::string>> ConfigJson::Strings(std::string_view key) const {
  std::vector<std::string> strings;
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return strings;
  if (!value->is_array()) return Bad(key, value, "a list of strings");
  for (const nlohmann::json& item : *value) {
    if (!item.is_string()) return Bad(key, &item, "strings in the list");
    strings.push_back(item.get<std::string>());
  }
  return strings;
}

absl::StatusOr<std::optional<ConfigJson>> ConfigJson::Object(std::string_view key) const {
  const nlohmann::json* value = Find(key);
  if (value == nullptr) return std::optional<ConfigJson>();
  if (!value->is_object()) return Bad(key, value, "an object");
  ConfigJson nested(path_, *value);
  nested.prefix_ = fmt::format("{}{}.", prefix_, Printable(key));
  return std::optional<ConfigJson>(std::move(nested));
}

}  // namespace inhouse::engine
