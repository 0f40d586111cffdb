#include <cmath>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>

#include "base/status.h"
#include "engine/formats/gguf.h"
#include "engine/formats/printable.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

// The value as a message shows it.
std::string Text(const GgufValue& value) {
  return std::visit(
      [](const auto& held) -> std::string {
        using T = std::decay_t<decltype(held)>;
        if constexpr (std::is_same_v<T, std::string>) {
          return Printable(held);
        } else if constexpr (std::is_arithmetic_v<T>) {
          return fmt::format("{}", held);
        } else {
          return fmt::format("an array of {}", held.size());
        }
      },
      value);
}

}  // namespace

const GgufValue* GgufMetadata::Find(std::string_view key) const {
  const auto found = values_.find(key);
  return found == values_.end() ? nullptr : &found->second;
}

absl::Status GgufMetadata::Bad(std::string_view key, const GgufValue* value,
                               std::string expected) const {
  if (value == nullptr) expected += ", it is missing";
  return base::InvalidInput({.file = path_,
                             .field = Printable(key),
                             .value = value == nullptr ? "" : Text(*value),
                             .expected = std::move(expected)});
}

absl::StatusOr<int64_t> GgufMetadata::Int(std::string_view key, int64_t min, int64_t max) const {
  const GgufValue* value = Find(key);
  const auto* number = value == nullptr ? nullptr : std::get_if<int64_t>(value);
  if (number == nullptr || *number < min || *number > max) {
    return Bad(key, value, fmt::format("an integer from {} to {}", min, max));
  }
  return *number;
}

absl::StatusOr<int64_t> GgufMetadata::IntOr(std::string_view key, int64_t fallback, int64_t min,
                                            int64_t max) const {
  return Has(key) ? Int(key, min, max) : fallback;
}

absl::StatusOr<double> GgufMetadata::DoubleOr(std::string_view key, double fallback, double min,
                                              double max) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  double number = NAN;
  if (const auto* held = std::get_if<double>(value)) number = *held;
  if (const auto* held = std::get_if<int64_t>(value)) number = static_cast<double>(*held);
  if (!(number >= min && number <= max)) {
    return Bad(key, value, fmt::format("a number from {} to {}", min, max));
  }
  return number;
}

absl::StatusOr<bool> GgufMetadata::BoolOr(std::string_view key, bool fallback) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return fallback;
  if (const auto* held = std::get_if<bool>(value)) return *held;
  return Bad(key, value, "a boolean");
}

absl::StatusOr<std::string> GgufMetadata::String(std::string_view key) const {
  const GgufValue* value = Find(key);
  const auto* held = value == nullptr ? nullptr : std::get_if<std::string>(value);
  if (held == nullptr) return Bad(key, value, "a string");
  return *held;
}

absl::StatusOr<std::string> GgufMetadata::StringOr(std::string_view key,
                                                   std::string_view fallback) const {
  return Has(key) ? String(key) : std::string(fallback);
}

absl::StatusOr<const std::vector<std::string>*> GgufMetadata::Strings(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return static_cast<const std::vector<std::string>*>(nullptr);
  if (const auto* held = std::get_if<std::vector<std::string>>(value)) return held;
  return Bad(key, value, "an array of strings");
}

absl::StatusOr<const std::vector<int64_t>*> GgufMetadata::Ints(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return static_cast<const std::vector<int64_t>*>(nullptr);
  if (const auto* held = std::get_if<std::vector<int64_t>>(value)) return held;
  return Bad(key, value, "an array of integers");
}

absl::StatusOr<const std::vector<double>*> GgufMetadata::Doubles(std::string_view key) const {
  const GgufValue* value = Find(key);
  if (value == nullptr) return static_cast<const std::vector<double>*>(nullptr);
  if (const auto* held = std::get_if<std::vector<double>>(value)) return held;
  return Bad(key, value, "an array of numbers");
}

}  // namespace inhouse::engine
