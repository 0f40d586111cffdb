// GET /openapi.json: what every route takes and gives, as OpenAPI 3.1.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace inhouse::model_server {

// One route as the document describes it.
struct Operation {
  std::string_view method = {};
  std::string_view pattern = {};  // "/v1/models/{id}"
  std::string_view summary = {};
  // The request's body: "" = none, a name of the components' schemas, or "form".
  std::string_view body = {};
  std::string_view parameters = {};              // of the query, separated by commas
  std::string_view answer = "application/json";  // media type
  bool streams = false;                          // with "stream": true
};

// Null for a route that the table does not know: a test holds that there is none.
const Operation* FindOperation(std::string_view method, std::string_view pattern);
const std::vector<Operation>& Operations();

// `names` are the served models; empty while one is being loaded.
std::string OpenApiJson(std::string_view version, const std::vector<std::string>& names);

}  // namespace inhouse::model_server
