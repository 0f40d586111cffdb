// Typed access to the members of a JSON object, with errors that name the member.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "model-server/api/error.h"
#include "nlohmann/json.hpp"

namespace inhouse::model_server {

using Json = nlohmann::ordered_json;

struct NumberRange {
  double min = 0;
  double max = 0;
  bool min_excluded = false;
};

// One object of a request. Members that are missing or null leave `out` as it was. The first error
// is kept; after it, nothing is read. Not thread-safe; the object must outlive it.
class Fields {
 public:
  // `path` is put before the member's name in messages: "messages[0]".
  explicit Fields(const Json& object, std::string path = {})
      : object_(object), path_(std::move(path)) {}

  const Json* Find(std::string_view name) const;  // null if missing or null
  void Bool(std::string_view name, bool* out);
  void Float(std::string_view name, const NumberRange& range, float* out);
  void Int(std::string_view name, int64_t min, int64_t max, int64_t* out);
  void Int(std::string_view name, int64_t min, int64_t max, std::optional<int64_t>* out);
  void Text(std::string_view name, std::string* out);
  void Text(std::string_view name, std::optional<std::string>* out);

  std::string Param(std::string_view name) const;  // "messages[0].role"
  void Fail(ApiError error);
  void FailType(std::string_view name, std::string_view expected, const Json& value);
  void FailRequired(std::string_view name);
  bool ok() const { return !error_.has_value(); }
  std::optional<ApiError> TakeError() { return std::move(error_); }

 private:
  const Json& object_;
  const std::string path_;
  std::optional<ApiError> error_;
};

// "an integer", "a string", ... for messages.
std::string_view JsonTypeName(const Json& value);

}  // namespace inhouse::model_server
