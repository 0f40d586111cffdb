// What comes in a request beside JSON: multipart forms and query parameters.
#pragma once

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace inhouse::model_server {

struct FormPart {
  std::string name = {};
  std::string filename = {};  // "": a plain field
  std::string_view content = {};
};

inline constexpr size_t kFormPartsMax = 64;

// The parts of a multipart/form-data body (RFC 7578), whose contents are views into `body`; none if
// it is no such body.
std::optional<std::vector<FormPart>> ParseForm(std::string_view content_type,
                                               std::string_view body);

// "/v1/files?limit=3" -> "3"; decoded; "" if it is not there.
std::string QueryParameter(std::string_view target, std::string_view name);

}  // namespace inhouse::model_server
