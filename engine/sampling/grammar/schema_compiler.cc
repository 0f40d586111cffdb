#include "engine/sampling/grammar/schema_compiler.h"

#include <algorithm>
#include <array>
#include <utility>

#include "base/status.h"
#include "engine/sampling/grammar/schema_merge.h"
#include "engine/sampling/grammar/schema_rules.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;
constexpr size_t kTextsMax = 8 << 20;
constexpr size_t kMergeWorkMax = 4'000'000;  // comparisons: some 100 ms

constexpr std::array<std::string_view, 30> kKnown = {"type",
                                                     "properties",
                                                     "required",
                                                     "additionalProperties",
                                                     "items",
                                                     "prefixItems",
                                                     "patternProperties",
                                                     "propertyNames",
                                                     "minItems",
                                                     "maxItems",
                                                     "additionalItems",
                                                     "minProperties",
                                                     "maxProperties",
                                                     "enum",
                                                     "const",
                                                     "anyOf",
                                                     "oneOf",
                                                     "allOf",
                                                     "$ref",
                                                     "minLength",
                                                     "maxLength",
                                                     "pattern",
                                                     "format",
                                                     "minimum",
                                                     "maximum",
                                                     "exclusiveMinimum",
                                                     "exclusiveMaximum",
                                                     "multipleOf",
                                                     "nullable",
                                                     "uniqueItems"};

// They restrict values in ways that are not carried out here.
constexpr std::array<std::string_view, 16> kRefused = {"not",
                                                       "if",
                                                       "then",
                                                       "else",
                                                       "contains",
                                                       "minContains",
                                                       "maxContains",
                                                       "dependentRequired",
                                                       "dependencies",
                                                       "$dynamicRef",
                                                       "$recursiveRef",
                                                       "dependentSchemas",
                                                       "$dynamicAnchor",
                                                       "unevaluatedItems",
                                                       "contentSchema",
                                                       "disallow"};

template <size_t N>
bool IsIn(const std::array<std::string_view, N>& list, std::string_view name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

bool HasType(const Json& value, const std::string& type) {
  if (type == "integer") {
    return value.is_number_integer() ||
           (value.is_number_float() &&
            value.get<double>() == static_cast<double>(static_cast<int64_t>(
                                       std::clamp(value.get<double>(), -9e18, 9e18))));
  }
  if (type == "number") return value.is_number();
  return type == value.type_name();
}

Json WithoutKeyword(const Json& schema, const std::string& keyword) {
  Json out = schema;
  out.erase(keyword);
  return out;
}

bool Asserts(const Json& schema) {
  for (const auto& [keyword, value] : schema.items()) {
    if (!IsAnnotation(keyword)) return true;
  }
  return false;
}

}  // namespace

SchemaPlace SchemaPlace::Below(std::string_view step) const {
  return {path + "/" + std::string(step.substr(0, 80)), depth + 1};
}

absl::Status SchemaRules::Bad(const SchemaPlace& place, std::string value,
                              std::string expected) const {
  return base::InvalidInput({.file = label_,
                             .field = place.path.substr(0, 400),
                             .value = std::move(value),
                             .expected = std::move(expected)});
}

absl::Status SchemaRules::CheckKeywords(const Json& schema, const SchemaPlace& place) const {
  for (const auto& [keyword, value] : schema.items()) {
    if (IsIn(kRefused, keyword) || (keyword == "uniqueItems" && value == true)) {
      return Bad(place.Below(keyword), "",
                 fmt::format("a schema without '{}', which this server cannot enforce", keyword));
    }
    if (keyword == "unevaluatedProperties") {
      const bool plain = value.is_boolean() && !schema.contains("allOf") &&
                         !schema.contains("anyOf") && !schema.contains("oneOf") &&
                         !schema.contains("$ref");
      if (plain) continue;
      return Bad(place.Below(keyword), value.dump(),
                 "true or false in a schema without allOf, "
                 "anyOf, oneOf and $ref");
    }
    if (strict_ && !IsIn(kKnown, keyword) && !IsAnnotation(keyword)) {
      return Bad(place.Below(keyword), "", "a keyword of JSON Schema: 'strict' is true");
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<RuleId> SchemaRules::Compile(const Json& schema, const SchemaPlace& place) {
  if (!b_->status().ok()) return b_->status();
  if (schema == true) return json_->Value();
  if (!schema.is_object()) {
    return Bad(place, schema.dump().substr(0, 100),
               schema == false ? "a schema that some value satisfies" : "a schema: an object");
  }
  const GrammarLimits& limits = b_->limits();
  if (place.depth > 2 * limits.depth) {
    return Bad(place, "", fmt::format("a schema of at most {} levels", limits.depth));
  }
  std::string text = schema.dump();
  const auto found = done_.find(text);
  if (found != done_.end()) return found->second;
  bytes_ += text.size();
  if (++nodes_ > limits.schema_nodes || bytes_ > kTextsMax) {
    return Bad(place, "",
               fmt::format("a schema of at most {} parts, after anyOf and allOf are "
                           "multiplied out",
                           limits.schema_nodes));
  }
  // Known before it is made: a schema may contain itself.
  const RuleId rule = b_->NewRule();
  done_.emplace(std::move(text), rule);
  INHOUSE_ASSIGN_OR_RETURN(const RuleId body, CompileNew(schema, place));
  b_->Call(rule, kStart, body, kEnd);
  return rule;
}

absl::StatusOr<RuleId> SchemaRules::CompileNew(const Json& schema, const SchemaPlace& place) {
  INHOUSE_RETURN_IF_ERROR(CheckKeywords(schema, place));
  if (schema.value("nullable", Json(false)) == true) {
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Compile(WithoutKeyword(schema, "nullable"), place));
    return b_->Choice({rule, json_->Null()});
  }
  if (schema.contains("$ref")) return CompileRef(schema, place);
  if (schema.contains("anyOf")) return CompileAnyOf(schema, "anyOf", place);
  if (schema.contains("oneOf")) return CompileAnyOf(schema, "oneOf", place);
  if (schema.contains("allOf")) return CompileAllOf(schema, place);
  if (schema.contains("enum") || schema.contains("const")) return CompileEnum(schema, place);
  return CompileTypes(schema, place);
}

absl::StatusOr<const Json*> SchemaRules::Resolve(const std::string& reference,
                                                 const SchemaPlace& place) const {
  const auto missing = [&] {
    return Bad(place.Below("$ref"), reference.substr(0, 100),
               "a reference to a part of this schema, like '#/$defs/name'");
  };
  if (!reference.starts_with('#')) return missing();
  const Json* at = &root_;
  std::string_view rest = std::string_view(reference).substr(1);
  while (!rest.empty()) {
    if (rest[0] != '/') return missing();
    const size_t end = std::min(rest.find('/', 1), rest.size());
    std::string step;
    for (size_t i = 1; i < end; ++i) {
      if (rest[i] == '~' && i + 1 < end) {
        step += rest[++i] == '0' ? '~' : '/';
      } else {
        step += rest[i];
      }
    }
    rest.remove_prefix(end);
    if (at->is_object() && at->contains(step)) {
      at = &(*at)[step];
    } else if (at->is_array() && !step.empty() && step.size() < 6 &&
               step.find_first_not_of("0123456789") == step.npos && std::stoul(step) < at->size()) {
      at = &(*at)[std::stoul(step)];
    } else {
      return missing();
    }
  }
  return at;
}

absl::StatusOr<Json> SchemaRules::Merge(const Json& a, const Json& b, const SchemaPlace& place) {
  merge_work_ += MergeWork(a, b);
  if (merge_work_ > kMergeWorkMax) return Bad(place, "", "fewer or smaller schemas to join");
  auto merged = MergeSchemas(a, b);
  if (merged.ok()) return merged;
  const std::string keyword = base::ErrorField(merged.status()).value_or("");
  return Bad(keyword.empty() ? place : place.Below(keyword), "",
             "schemas that can be joined into one; these say this in two ways");
}

absl::StatusOr<RuleId> SchemaRules::CompileRef(const Json& schema, const SchemaPlace& place) {
  const Json& reference = schema["$ref"];
  if (!reference.is_string()) return Bad(place.Below("$ref"), reference.dump(), "a string");
  INHOUSE_ASSIGN_OR_RETURN(const Json* target, Resolve(reference, place));
  const Json rest = WithoutKeyword(schema, "$ref");
  if (!Asserts(rest)) {
    return Compile(*target, {reference.get<std::string>(), place.depth + 1});
  }
  INHOUSE_ASSIGN_OR_RETURN(const Json merged, Merge(*target, rest, place));
  return Compile(merged, place.Below("$ref"));
}

absl::StatusOr<RuleId> SchemaRules::CompileAnyOf(const Json& schema, const std::string& keyword,
                                                 const SchemaPlace& place) {
  const Json& branches = schema[keyword];
  const SchemaPlace below = place.Below(keyword);
  if (!branches.is_array() || branches.empty()) {
    return Bad(below, branches.dump().substr(0, 100), "an array that is not empty");
  }
  const Json rest = WithoutKeyword(schema, keyword);
  const bool alone = !Asserts(rest);
  std::vector<RuleId> rules;
  for (size_t i = 0; i < branches.size(); ++i) {
    Json branch = branches[i];
    if (!alone) {
      INHOUSE_ASSIGN_OR_RETURN(branch, Merge(rest, branch, below.Below(std::to_string(i))));
    }
    if (branch == false) continue;
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Compile(branch, below.Below(std::to_string(i))));
    rules.push_back(rule);
  }
  if (rules.empty()) return Bad(below, "", "a branch that some value satisfies");
  return b_->Choice(rules);
}

absl::StatusOr<RuleId> SchemaRules::CompileAllOf(const Json& schema, const SchemaPlace& place) {
  const Json& parts = schema["allOf"];
  const SchemaPlace below = place.Below("allOf");
  if (!parts.is_array() || parts.empty()) {
    return Bad(below, parts.dump().substr(0, 100), "an array that is not empty");
  }
  Json joined = WithoutKeyword(schema, "allOf");
  for (size_t i = 0; i < parts.size(); ++i) {
    const SchemaPlace at = below.Below(std::to_string(i));
    Json part = parts[i];
    // A reference is followed here: what it names is joined with the others.
    for (int hops = 0; part.is_object() && part.contains("$ref"); ++hops) {
      if (!part["$ref"].is_string() || hops > 16) {
        return Bad(at.Below("$ref"), "", "a reference that leads to a schema");
      }
      INHOUSE_ASSIGN_OR_RETURN(const Json* target, Resolve(part["$ref"], at));
      INHOUSE_ASSIGN_OR_RETURN(part, Merge(*target, WithoutKeyword(part, "$ref"), at));
    }
    INHOUSE_ASSIGN_OR_RETURN(joined, Merge(joined, part, at));
  }
  return Compile(joined, below);
}

absl::StatusOr<RuleId> SchemaRules::CompileEnum(const Json& schema, const SchemaPlace& place) {
  const char* keyword = schema.contains("const") ? "const" : "enum";
  const SchemaPlace below = place.Below(keyword);
  Json values = schema.value("enum", Json::array());
  if (!values.is_array()) return Bad(below, values.dump().substr(0, 100), "an array");
  if (schema.contains("const")) {
    const Json& only = schema["const"];
    const bool listed = std::find(values.begin(), values.end(), only) != values.end();
    values = schema.contains("enum") && !listed ? Json::array() : Json::array({only});
  }
  if (values.size() > b_->limits().enum_values) {
    return Bad(below, std::to_string(values.size()),
               fmt::format("at most {} values", b_->limits().enum_values));
  }
  for (const auto& [other, value] : schema.items()) {
    if (other == "enum" || other == "const" || other == "type" || !IsIn(kKnown, other)) continue;
    return Bad(place.Below(other), "", fmt::format("nothing but 'type' beside '{}'", keyword));
  }
  const Json types = schema.value("type", Json());
  const RuleId rule = b_->NewRule();
  bool any = false;
  for (const Json& value : values) {
    bool fits = types.is_null();
    for (const Json& type : types.is_array() ? types : Json::array({types})) {
      fits = fits || (type.is_string() && HasType(value, type.get<std::string>()));
    }
    if (!fits) continue;
    any = true;
    b_->Empty(rule, b_->Text(rule, kStart, value.dump()), kEnd);
  }
  if (!any) return Bad(below, "", "at least one value, of the type that the schema asks for");
  return rule;
}

absl::StatusOr<RuleId> SchemaRules::CompileTypes(const Json& schema, const SchemaPlace& place) {
  std::vector<std::string> types;
  const Json given = schema.value("type", Json());
  if (given.is_string()) {
    types.push_back(given);
  } else if (given.is_array()) {
    for (const Json& type : given) {
      if (!type.is_string()) return Bad(place.Below("type"), given.dump(), "names of types");
      types.push_back(type);
    }
    if (types.empty() || types.size() > 16) {
      return Bad(place.Below("type"), "", "at least one type that fits, and no type twice");
    }
  } else if (!given.is_null()) {
    return Bad(place.Below("type"), given.dump(), "the name of a type, or an array of names");
  } else {
    // A keyword that speaks of one type means values of that type.
    const auto has = [&schema](std::initializer_list<const char*> keywords) {
      return std::any_of(keywords.begin(), keywords.end(),
                         [&schema](const char* k) { return schema.contains(k); });
    };
    if (has({"properties", "required", "additionalProperties", "patternProperties", "propertyNames",
             "minProperties", "maxProperties", "unevaluatedProperties"})) {
      types.push_back("object");
    }
    if (has({"items", "prefixItems", "minItems", "maxItems"})) types.push_back("array");
    if (has({"minLength", "maxLength", "pattern", "format"})) types.push_back("string");
    if (has({"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"})) {
      types.push_back("number");
    }
    if (types.empty()) return json_->Value();
  }
  const bool number = std::find(types.begin(), types.end(), "number") != types.end();
  std::vector<RuleId> rules;
  for (const std::string& type : types) {
    if (type == "integer" && number) continue;  // is a number already
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, CompileType(type, schema, place));
    rules.push_back(rule);
  }
  return b_->Choice(rules);
}

absl::StatusOr<RuleId> SchemaRules::CompileType(const std::string& type, const Json& schema,
                                                const SchemaPlace& place) {
  if (type == "null") return json_->Null();
  if (type == "boolean") return json_->Boolean();
  if (type == "integer") return Number(schema, place, true);
  if (type == "number") return Number(schema, place, false);
  if (type == "string") return String(schema, place);
  if (type == "array") return Array(schema, place);
  if (type == "object") return Object(schema, place);
  return Bad(place.Below("type"), type,
             "'null', 'boolean', 'integer', 'number', 'string', 'array' or 'object'");
}

absl::StatusOr<RuleId> AddSchema(GrammarBuilder* builder, JsonRules* json,
                                 const SchemaSource& source) {
  Json root;
  try {
    root = Json::parse(source.text);
  } catch (const nlohmann::json::exception&) {
    return base::InvalidInput({.file = std::string(source.label),
                               .value = std::string(source.text.substr(0, 100)),
                               .expected = "a JSON Schema: a JSON object"});
  }
  SchemaRules rules(builder, json, source, std::move(root));
  return rules.Compile(rules.root(), {});
}

}  // namespace inhouse::engine
