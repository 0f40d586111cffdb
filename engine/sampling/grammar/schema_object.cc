// "properties" and all that belongs to objects.
#include <algorithm>

#include "base/status.h"
#include "engine/sampling/grammar/char_set.h"
#include "engine/sampling/grammar/regex.h"
#include "engine/sampling/grammar/schema_rules.h"
#include "fmt/format.h"
#include "re2/re2.h"

namespace inhouse::engine {
namespace {

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;

using Json = nlohmann::ordered_json;

constexpr size_t kNamesMax = 1024;   // of "required"
constexpr size_t kPatternsMax = 16;  // of "patternProperties": each is compared with each

bool Contains(const Json& list, const std::string& name) {
  return std::find(list.begin(), list.end(), name) != list.end();
}

}  // namespace

// What a property must be: its own schema, and those of the patterns that its name matches.
absl::StatusOr<SchemaRules::Json> SchemaRules::WithPatterns(const Json& schema,
                                                            const std::string& name,
                                                            const Json& value,
                                                            const SchemaPlace& place) {
  Json wanted = value;
  const Json by_pattern = schema.value("patternProperties", Json::object());
  if (!by_pattern.is_object()) return wanted;  // refused by Extras
  for (const auto& [pattern, other] : by_pattern.items()) {
    RE2::Options options;
    options.set_log_errors(false);
    options.set_max_mem(1 << 20);
    const RE2 re(pattern, options);
    if (!re.ok() || !RE2::PartialMatch(name, re)) continue;  // a broken one is refused by Extras
    INHOUSE_ASSIGN_OR_RETURN(wanted, Merge(wanted, other, place));
  }
  return wanted;
}

absl::StatusOr<std::vector<SchemaRules::Property>> SchemaRules::Properties(
    const Json& schema, const SchemaPlace& place) {
  const Json named = schema.value("properties", Json::object());
  const Json required = schema.value("required", Json::array());
  if (!named.is_object())
    return Bad(place.Below("properties"), named.dump().substr(0, 100), "an object");
  const bool names =
      required.is_array() &&
      std::all_of(required.begin(), required.end(), [](const Json& n) { return n.is_string(); });
  if (!names || required.size() > kNamesMax) {
    return Bad(place.Below("required"), required.dump().substr(0, 100),
               fmt::format("an array of at most {} strings", kNamesMax));
  }
  std::vector<Property> out;
  for (const auto& [name, value] : named.items()) {
    const SchemaPlace below = place.Below("properties").Below(name);
    const bool is_required = Contains(required, name);
    if (value == false) {
      if (is_required) return Bad(below, "false", "a property that may exist: it is required");
      continue;
    }
    INHOUSE_ASSIGN_OR_RETURN(const Json wanted, WithPatterns(schema, name, value, below));
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Compile(wanted, below));
    out.push_back({name, rule, is_required});
  }
  // What is required but not described is any further property.
  for (const Json& item : required) {
    const auto& name = item.get_ref<const std::string&>();
    if (named.contains(name)) continue;
    const Json further = schema.value("additionalProperties", Json(true));
    if (further == false || schema.contains("patternProperties")) {
      return Bad(place.Below("required"), name, "names of 'properties'");
    }
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule,
                             Compile(further, place.Below("additionalProperties")));
    const bool again =
        std::any_of(out.begin(), out.end(), [&name](const Property& p) { return p.name == name; });
    if (!again) out.push_back({name, rule, true});
  }
  return out;
}

// What a key without a name of its own looks like.
absl::StatusOr<RuleId> SchemaRules::AnyKey(const Json& schema, const SchemaPlace& place) {
  if (!schema.contains("propertyNames")) return json_->Key();
  const Json& names = schema["propertyNames"];
  const SchemaPlace below = place.Below("propertyNames");
  if (names == true) return json_->Key();
  if (!names.is_object()) return Bad(below, names.dump(), "an object");
  std::optional<RuleId> out;
  for (const auto& [keyword, value] : names.items()) {
    if (keyword == "type" && value == "string") continue;
    if (keyword == "title" || keyword == "description") continue;
    RuleId rule = 0;
    if (keyword == "pattern" && value.is_string()) {
      INHOUSE_ASSIGN_OR_RETURN(rule, Pattern(value, below.Below(keyword), true));
    } else if (keyword == "enum" && value.is_array()) {
      rule = b_->NewRule();
      for (const Json& name : value) {
        if (!name.is_string()) continue;  // no key is anything else
        b_->Empty(rule, b_->Text(rule, kStart, name.dump()), kEnd);
      }
    } else if (keyword == "minLength" || keyword == "maxLength") {
      INHOUSE_ASSIGN_OR_RETURN(const uint32_t min, Count(names, "minLength", 0, below));
      INHOUSE_ASSIGN_OR_RETURN(const uint32_t max, Count(names, "maxLength", 64, below));
      rule = ShortString(min, std::max(min, max));
    } else {
      return Bad(below.Below(keyword), value.dump(),
                 "'pattern', 'enum', 'minLength' or 'maxLength'");
    }
    out = out ? b_->NewBoth(*out, rule) : rule;
  }
  return out ? *out : json_->Key();
}

absl::StatusOr<std::vector<SchemaRules::Extra>> SchemaRules::Extras(
    const Json& schema, const std::vector<Property>& properties, const SchemaPlace& place) {
  std::vector<Extra> out;
  const Json by_pattern = schema.value("patternProperties", Json::object());
  if (!by_pattern.is_object() || by_pattern.size() > kPatternsMax) {
    return Bad(place.Below("patternProperties"), by_pattern.dump().substr(0, 100),
               fmt::format("an object of at most {} patterns", kPatternsMax));
  }
  const auto without_names = [&](RuleId key) {
    if (properties.empty()) return key;
    const RuleId names = b_->NewRule();
    for (const Property& property : properties) {
      b_->Empty(names, b_->Text(names, kStart, Json(property.name).dump()), kEnd);
    }
    return b_->NewOnlyFirst(key, names);
  };
  INHOUSE_ASSIGN_OR_RETURN(const RuleId any_key, AnyKey(schema, place));
  std::vector<RuleId> keys;
  for (const auto& [pattern, value] : by_pattern.items()) {
    const SchemaPlace below = place.Below("patternProperties").Below(pattern);
    INHOUSE_ASSIGN_OR_RETURN(const RuleId key, Pattern(pattern, below, true));
    // Keys that several patterns match would have to satisfy several schemas: they are not made.
    RuleId own = without_names(b_->NewBoth(any_key, key));
    for (const auto& [other, value_of_other] : by_pattern.items()) {
      if (other == pattern) continue;
      INHOUSE_ASSIGN_OR_RETURN(const RuleId other_key, Pattern(other, below, true));
      own = b_->NewOnlyFirst(own, other_key);
    }
    keys.push_back(key);
    if (value == false) continue;
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Compile(value, below));
    out.push_back({own, rule});
  }
  // Where nothing is said about further properties, a schema that names some means these; one that
  // names none means any.
  const bool named = !properties.empty() || !by_pattern.empty() || schema.contains("properties");
  const Json further = schema.value("additionalProperties", Json(!named));
  if (further == false || schema.value("unevaluatedProperties", Json(true)) == false) return out;
  RuleId key = without_names(any_key);
  for (const RuleId pattern : keys) key = b_->NewOnlyFirst(key, pattern);
  INHOUSE_ASSIGN_OR_RETURN(const RuleId value,
                           Compile(further, place.Below("additionalProperties")));
  out.push_back({key, value});
  return out;
}

// Members in the order of the schema, further ones behind them. c[i]: a member that is i or later
// comes now; m[i]: one was written, i is the next that may come.
RuleId SchemaRules::ObjectRule(const std::vector<Property>& properties,
                               const std::vector<Extra>& extras) {
  const RuleId rule = b_->NewRule();
  const size_t n = properties.size();
  std::vector<NodeId> c(n + 1);
  std::vector<NodeId> m(n + 1);
  for (size_t i = 0; i <= n; ++i) {
    c[i] = b_->NewNode(rule);
    m[i] = b_->NewNode(rule);
  }
  const NodeId open = b_->Text(rule, kStart, "{");
  const bool may_be_empty =
      std::none_of(properties.begin(), properties.end(), [](const auto& p) { return p.required; });
  if (may_be_empty) b_->Bytes(rule, open, '}', '}', kEnd);
  b_->Call(rule, open, json_->Space(), c[0]);
  for (size_t i = 0; i < n; ++i) {
    const NodeId key = b_->Text(rule, c[i], Json(properties[i].name).dump() + ":");
    const NodeId value = b_->NewNode(rule);
    b_->Empty(rule, key, value);
    b_->Bytes(rule, key, ' ', ' ', value);
    b_->Call(rule, value, properties[i].value, m[i + 1]);
    if (!properties[i].required) {
      b_->Empty(rule, c[i], c[i + 1]);
      b_->Empty(rule, m[i], m[i + 1]);
    }
    if (i > 0) b_->Empty(rule, json_->Comma(rule, m[i]), c[i]);
  }
  if (n > 0 && !extras.empty()) b_->Empty(rule, json_->Comma(rule, m[n]), c[n]);
  for (const Extra& extra : extras) {
    b_->Empty(rule, json_->Member(rule, c[n], extra.key, extra.value), m[n]);
  }
  if (n == 0 && !extras.empty()) b_->Empty(rule, json_->Comma(rule, m[0]), c[0]);
  json_->Close(rule, m[n], '}');
  return rule;
}

absl::StatusOr<RuleId> SchemaRules::Object(const Json& schema, const SchemaPlace& place) {
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<Property> properties, Properties(schema, place));
  INHOUSE_ASSIGN_OR_RETURN(const std::vector<Extra> extras, Extras(schema, properties, place));
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t min, Count(schema, "minProperties", 0, place));
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t max, Count(schema, "maxProperties", kUnbounded, place));
  if (min > max) {
    return Bad(place.Below("maxProperties"), std::to_string(max), "at least minProperties");
  }
  const auto required = static_cast<uint32_t>(std::count_if(
      properties.begin(), properties.end(), [](const Property& p) { return p.required; }));
  const bool min_holds = min <= required;
  const bool max_holds = max == kUnbounded || (extras.empty() && max >= properties.size());
  if (min_holds && max_holds) return ObjectRule(properties, extras);
  if (!properties.empty() || extras.empty()) {
    return Bad(place.Below(min_holds ? "maxProperties" : "minProperties"),
               std::to_string(min_holds ? max : min),
               "a number only where no property has a name of its own");
  }
  if (extras.size() == 1) return json_->ObjectOf(extras[0].key, extras[0].value, min, max);
  return Bad(place.Below("patternProperties"), "", "one pattern beside minProperties");
}

}  // namespace inhouse::engine
