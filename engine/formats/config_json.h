// A JSON object from a file, read field by field with types and ranges checked.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

// Numbers of a field must lie in [min, max]; the messages of all getters name file, field, value
// and expectation.
struct IntRange {
  int64_t min;
  int64_t max;
};

// Immutable; any thread may read.
class ConfigJson {
 public:
  // Reads an object from a file of at most 64 MiB and limited depth.
  static absl::StatusOr<ConfigJson> Load(const std::string& path);
  // The same from text; `path` is what messages call it.
  static absl::StatusOr<ConfigJson> Parse(std::string path, std::string_view text);
  // `object` must be a JSON object.
  ConfigJson(std::string path, nlohmann::json object);

  const std::string& path() const { return path_; }
  const nlohmann::json& json() const { return object_; }

  bool Has(std::string_view key) const;  // present and not null

  absl::StatusOr<int64_t> Int(std::string_view key, IntRange range) const;
  absl::StatusOr<int64_t> IntOr(std::string_view key, int64_t fallback, IntRange range) const;
  absl::StatusOr<double> Double(std::string_view key, double min, double max) const;
  absl::StatusOr<double> DoubleOr(std::string_view key, double fallback, double min,
                                  double max) const;
  absl::StatusOr<bool> BoolOr(std::string_view key, bool fallback) const;
  absl::StatusOr<std::string> String(std::string_view key) const;
  absl::StatusOr<std::string> StringOr(std::string_view key, std::string_view fallback) const;
  // One integer or a list of them (eos_token_id); empty if absent.
  absl::StatusOr<std::vector<int64_t>> Ints(std::string_view key, IntRange range) const;
  // A list of strings; empty if absent.
  absl::StatusOr<std::vector<std::string>> Strings(std::string_view key) const;
  // A nested object, or none if absent or null. Its messages say "rope_scaling.factor".
  absl::StatusOr<std::optional<ConfigJson>> Object(std::string_view key) const;

 private:
  const nlohmann::json* Find(std::string_view key) const;  // null if absent or null
  absl::Status Bad(std::string_view key, const nlohmann::json* value, std::string expected) const;
  absl::Status Missing(std::string_view key, std::string_view what) const;
  absl::StatusOr<int64_t> IntOf(std::string_view key, const nlohmann::json& value,
                                IntRange range) const;

  std::string path_;
  std::string prefix_;  // of field names in messages: "rope_scaling."
  nlohmann::json object_;
};

}  // namespace inhouse::engine
