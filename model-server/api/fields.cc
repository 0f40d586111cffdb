#include "model-server/api/fields.h"

#include <cmath>
#include <limits>
#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {

std::string_view JsonTypeName(const Json& value) {
  switch (value.type()) {
    case Json::value_t::null:
      return "null";
    case Json::value_t::object:
      return "an object";
    case Json::value_t::array:
      return "an array";
    case Json::value_t::string:
      return "a string";
    case Json::value_t::boolean:
      return "a boolean";
    case Json::value_t::number_integer:
    case Json::value_t::number_unsigned:
      return "an integer";
    case Json::value_t::number_float:
      return "a decimal";
    case Json::value_t::binary:
    case Json::value_t::discarded:
      break;
  }
  return "something else";
}

const Json* Fields::Find(std::string_view name) const {
  if (error_) return nullptr;
  const auto found = object_.find(std::string(name));
  return found == object_.end() || found->is_null() ? nullptr : &*found;
}

std::string Fields::Param(std::string_view name) const {
  return path_.empty() ? std::string(name) : fmt::format("{}.{}", path_, name);
}

void Fields::Fail(ApiError error) {
  if (!error_) error_ = std::move(error);
}

void Fields::FailType(std::string_view name, std::string_view expected, const Json& value) {
  Fail(InvalidRequest(Param(name), "invalid_type",
                      fmt::format("Invalid type for '{}': expected {}, but got {} instead.",
                                  Param(name), expected, JsonTypeName(value))));
}

void Fields::FailRequired(std::string_view name) {
  Fail(InvalidRequest(Param(name), "missing_required_parameter",
                      fmt::format("Missing required parameter: '{}'.", Param(name))));
}

void Fields::Bool(std::string_view name, bool* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_boolean()) return FailType(name, "a boolean", *value);
  *out = value->get<bool>();
}

void Fields::Float(std::string_view name, const NumberRange& range, float* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_number()) return FailType(name, "a decimal", *value);
  const double number = value->get<double>();
  const bool below = range.min_excluded ? number <= range.min : number < range.min;
  if (below || number > range.max || !std::isfinite(number)) {
    return Fail(InvalidRequest(
        Param(name), below ? "decimal_below_min_value" : "decimal_above_max_value",
        fmt::format("Invalid '{}': {}. Expected a value {} {} and at most {}, but got {} instead.",
                    Param(name),
                    below ? "decimal below minimum value" : "decimal above maximum value",
                    range.min_excluded ? "above" : "of at least", range.min, range.max, number)));
  }
  *out = static_cast<float>(number);
}

void Fields::Int(std::string_view name, int64_t min, int64_t max, int64_t* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  // 16.0 is an integer for JavaScript and for JSON Schema.
  const bool whole =
      value->is_number_float() && std::floor(value->get<double>()) == value->get<double>();
  if (!value->is_number_integer() && !whole) return FailType(name, "an integer", *value);
  const double number = value->get<double>();
  const bool below = number < static_cast<double>(min);
  if (below || number > static_cast<double>(max)) {
    return Fail(InvalidRequest(
        Param(name), below ? "integer_below_min_value" : "integer_above_max_value",
        fmt::format("Invalid '{}': {}. Expected a value from {} to {}, but got {} instead.",
                    Param(name),
                    below ? "integer below minimum value" : "integer above maximum value", min, max,
                    value->dump())));
  }
  if (whole) {
    // 2^63 itself passes the comparison above, which is made in floating point.
    *out = number >= 9.2e18 ? std::numeric_limits<int64_t>::max() : static_cast<int64_t>(number);
  } else {
    *out = value->is_number_unsigned() && value->get<uint64_t>() > static_cast<uint64_t>(max)
               ? max
               : value->get<int64_t>();
  }
}

void Fields::Int(std::string_view name, int64_t min, int64_t max, std::optional<int64_t>* out) {
  if (Find(name) == nullptr) return;
  int64_t value = 0;
  Int(name, min, max, &value);
  if (ok()) *out = value;
}

void Fields::Text(std::string_view name, std::string* out) {
  const Json* value = Find(name);
  if (value == nullptr) return;
  if (!value->is_string()) return FailType(name, "a string", *value);
  *out = value->get<std::string>();
}

void Fields::Text(std::string_view name, std::optional<std::string>* out) {
  if (Find(name) == nullptr) return;
  std::string text;
  Text(name, &text);
  if (ok()) *out = std::move(text);
}

}  // namespace inhouse::model_server
