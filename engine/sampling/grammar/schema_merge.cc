#include "engine/sampling/grammar/schema_merge.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "base/status.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr std::array<std::string_view, 20> kAnnotations = {
    "title",           "description",      "default",      "examples",
    "example",         "$schema",          "$id",          "id",
    "$comment",        "$anchor",          "$defs",        "definitions",
    "deprecated",      "readOnly",         "writeOnly",    "discriminator",
    "contentEncoding", "contentMediaType", "externalDocs", "$vocabulary"};

constexpr size_t kPairsMax = 1'000'000;  // of two lists that are compared

absl::Status CannotMerge(const std::string& keyword) {
  return base::InvalidInput({.field = keyword,
                             .expected = "schemas of allOf, anyOf or $ref that can be joined; "
                                         "these say it in two ways"});
}

Json AsList(const Json& value) { return value.is_array() ? value : Json::array({value}); }

// "integer" is a "number".
Json CommonTypes(const Json& a, const Json& b) {
  Json out = Json::array();
  const auto has = [](const Json& list, const char* type) {
    return std::find(list.begin(), list.end(), type) != list.end();
  };
  const Json x = AsList(a);
  const Json y = AsList(b);
  for (const Json& type : x) {
    if (std::find(y.begin(), y.end(), type) != y.end()) {
      out.push_back(type);
    } else if (type == "number" && has(y, "integer")) {
      out.push_back("integer");
    } else if (type == "integer" && has(y, "number")) {
      out.push_back("integer");
    }
  }
  return out;
}

bool IsFalse(const Json& schema, const char* keyword) {
  const auto found = schema.find(keyword);
  return found != schema.end() && *found == false;
}

absl::StatusOr<Json> MergeProperties(const Json& a, const Json& b) {
  Json out = Json::object();
  const Json none = Json::object();
  const Json& x = a.contains("properties") ? a["properties"] : none;
  const Json& y = b.contains("properties") ? b["properties"] : none;
  if (!x.is_object() || !y.is_object()) return CannotMerge("properties");
  for (const auto& [name, schema] : x.items()) {
    const auto other = y.find(name);
    if (other != y.end()) {
      INHOUSE_ASSIGN_OR_RETURN(out[name], MergeSchemas(schema, *other));
    } else {
      // A schema that allows no further property forbids those of the other.
      out[name] = IsFalse(b, "additionalProperties") ? Json(false) : schema;
    }
  }
  for (const auto& [name, schema] : y.items()) {
    if (x.contains(name)) continue;
    out[name] = IsFalse(a, "additionalProperties") ? Json(false) : schema;
  }
  return out;
}

bool IsLower(std::string_view keyword) {
  return keyword == "minimum" || keyword == "exclusiveMinimum" || keyword == "minLength" ||
         keyword == "minItems" || keyword == "minProperties";
}
bool IsUpper(std::string_view keyword) {
  return keyword == "maximum" || keyword == "exclusiveMaximum" || keyword == "maxLength" ||
         keyword == "maxItems" || keyword == "maxProperties";
}

absl::StatusOr<Json> MergeKeyword(const std::string& keyword, const Json& a, const Json& b) {
  if (a == b) return a;
  if (a.is_array() && b.is_array() && a.size() * b.size() > kPairsMax) return CannotMerge(keyword);
  if (keyword == "type") return CommonTypes(a, b);
  if (IsLower(keyword) && a.is_number() && b.is_number()) return std::max(a, b);
  if (IsUpper(keyword) && a.is_number() && b.is_number()) return std::min(a, b);
  if (keyword == "required" && a.is_array() && b.is_array()) {
    Json out = a;
    for (const Json& name : b) {
      if (std::find(out.begin(), out.end(), name) == out.end()) out.push_back(name);
    }
    return out;
  }
  if (keyword == "enum" && a.is_array() && b.is_array()) {
    Json out = Json::array();
    for (const Json& value : a) {
      if (std::find(b.begin(), b.end(), value) != b.end()) out.push_back(value);
    }
    return out;
  }
  if (keyword == "pattern") {  // read as "all of these"
    Json out = AsList(a);
    for (const Json& pattern : AsList(b)) out.push_back(pattern);
    return out;
  }
  if (keyword == "items" || keyword == "additionalProperties" || keyword == "propertyNames") {
    return MergeSchemas(a, b);
  }
  if (keyword == "uniqueItems" || keyword == "nullable") {
    return keyword == "nullable" ? Json(a == true && b == true) : Json(a == true || b == true);
  }
  return CannotMerge(keyword);
}

}  // namespace

bool IsAnnotation(const std::string& keyword) {
  return keyword.starts_with("x-") ||
         std::find(kAnnotations.begin(), kAnnotations.end(), keyword) != kAnnotations.end();
}

absl::StatusOr<Json> MergeSchemas(const Json& a, const Json& b) {
  if (a == true) return b;
  if (b == true || a == b) return a;
  if (a == false || b == false) return Json(false);
  if (!a.is_object() || !b.is_object()) return CannotMerge("");
  Json out = Json::object();
  for (const auto& [keyword, value] : a.items()) {
    if (!IsAnnotation(keyword) && !b.contains(keyword)) out[keyword] = value;
  }
  Json more = Json::array();  // of anyOf and allOf, which stay apart
  for (const auto& [keyword, value] : b.items()) {
    if (IsAnnotation(keyword)) continue;
    const auto other = a.find(keyword);
    if (other == a.end()) {
      out[keyword] = value;
    } else if (keyword == "anyOf" || keyword == "oneOf" || keyword == "$ref") {
      out[keyword] = *other;
      if (*other != value) more.push_back(Json{{keyword, value}});
    } else if (keyword == "allOf") {
      out[keyword] = *other;
      for (const Json& one : AsList(value)) more.push_back(one);
    } else if (keyword != "properties") {
      INHOUSE_ASSIGN_OR_RETURN(out[keyword], MergeKeyword(keyword, *other, value));
    }
  }
  if (!more.empty()) {
    Json& all = out["allOf"];
    if (all.is_null()) all = Json::array();
    for (Json& one : more) all.push_back(std::move(one));
  }
  if (a.contains("properties") || b.contains("properties")) {
    INHOUSE_ASSIGN_OR_RETURN(out["properties"], MergeProperties(a, b));
  }
  if ((a.contains("const") && b.contains("enum")) || (a.contains("enum") && b.contains("const"))) {
    const Json& value = a.contains("const") ? a["const"] : b["const"];
    const Json& list = a.contains("enum") ? a["enum"] : b["enum"];
    if (!list.is_array() || std::find(list.begin(), list.end(), value) == list.end()) {
      return Json(false);
    }
    out.erase("enum");
  }
  return out;
}

size_t MergeWork(const Json& a, const Json& b) {
  if (a.is_array() && b.is_array()) return a.size() * b.size();
  if (!a.is_object() || !b.is_object()) return 1;
  size_t work = a.size() * (b.size() + 1);
  for (const auto& [key, value] : a.items()) {
    const auto other = b.find(key);
    if (other != b.end()) work += MergeWork(value, *other);
  }
  return work;
}

}  // namespace inhouse::engine
