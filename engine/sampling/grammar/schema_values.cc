// Strings, numbers and arrays.
#include <algorithm>
#include <cmath>

#include "base/status.h"
#include "engine/sampling/grammar/char_set.h"
#include "engine/sampling/grammar/formats.h"
#include "engine/sampling/grammar/regex.h"
#include "engine/sampling/grammar/schema_rules.h"
#include "fmt/format.h"

namespace inhouse::engine {
namespace {

using Json = nlohmann::ordered_json;

constexpr NodeId kStart = GrammarBuilder::kStart;
constexpr NodeId kEnd = GrammarBuilder::kEnd;

constexpr size_t kPatternsMax = 32;  // of one string, after allOf is joined

// 1 -> 0, 0.1 -> 1, 0.01 -> 2: the digits behind the point of its multiples; -1 for others.
int DigitsOfMultiples(double step) {
  double unit = 1;
  for (int digits = 0; digits <= 6; ++digits, unit /= 10) {
    if (std::fabs(step - unit) < unit * 1e-9) return digits;
  }
  return -1;
}

bool IsLess(const NumberBound& a, const NumberBound& b) {
  if (a.negative != b.negative) return a.negative;
  const NumberBound& low = a.negative ? b : a;
  const NumberBound& high = a.negative ? a : b;
  if (low.magnitude.whole != high.magnitude.whole) {
    return low.magnitude.whole < high.magnitude.whole;
  }
  return low.magnitude.fraction < high.magnitude.fraction;
}

// The integers that a lower bound allows begin here (an upper bound: of its mirror image).
int64_t FirstInteger(const NumberBound& bound) {
  const int64_t whole = bound.magnitude.whole;
  const bool exact = bound.magnitude.fraction.empty();
  if (bound.negative) return -whole + (exact && bound.magnitude.excluded ? 1 : 0);
  return whole + (exact && !bound.magnitude.excluded ? 0 : 1);
}

}  // namespace

absl::StatusOr<uint32_t> SchemaRules::Count(const Json& schema, const char* keyword,
                                            uint32_t otherwise, const SchemaPlace& place) const {
  const auto found = schema.find(keyword);
  if (found == schema.end()) return otherwise;
  const double value = found->is_number() ? found->get<double>() : -1;
  if (value < 0 || value != std::floor(value)) {
    return Bad(place.Below(keyword), found->dump().substr(0, 100), "a whole number from 0 on");
  }
  const auto limit = static_cast<double>(b_->limits().items);
  if (value > limit) {
    // An upper bound beyond what any answer reaches is no bound.
    if (std::string_view(keyword).starts_with("max")) return kUnbounded;
    return Bad(place.Below(keyword), found->dump(), fmt::format("at most {}", limit));
  }
  return static_cast<uint32_t>(value);
}

absl::StatusOr<RuleId> SchemaRules::Pattern(const std::string& pattern, const SchemaPlace& place,
                                            bool search) {
  auto rule =
      AddRegex(b_, pattern, {.spelling = Spelling::kJson, .search = search, .quoted = true});
  if (rule.ok()) return rule;
  const std::string why = base::Message(rule.status());
  return Bad(place, "", why.starts_with("value") ? "another pattern: " + why : why);
}

// A string of so many characters as one automaton, which can be intersected with others.
RuleId SchemaRules::ShortString(uint32_t min, uint32_t max) {
  CharSet chars(0x20, 0x10FFFF);
  for (const char32_t c : {U'\t', U'\n', U'\r'}) chars.Add(c, c);
  const RuleId rule = b_->NewRule();
  NodeId node = b_->Text(rule, kStart, "\"");
  const NodeId last = b_->NewNode(rule);
  for (uint32_t i = 0; (max == kUnbounded ? i < min : i < max) && b_->status().ok(); ++i) {
    if (i >= min) b_->Empty(rule, node, last);
    const NodeId next = b_->NewNode(rule);
    AddChars(b_, rule, node, chars, Spelling::kJson, next);
    node = next;
  }
  if (max == kUnbounded) AddChars(b_, rule, node, chars, Spelling::kJson, node);
  b_->Empty(rule, node, last);
  b_->Bytes(rule, last, '"', '"', kEnd);
  return rule;
}

absl::StatusOr<RuleId> SchemaRules::String(const Json& schema, const SchemaPlace& place) {
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t min, Count(schema, "minLength", 0, place));
  INHOUSE_ASSIGN_OR_RETURN(const uint32_t max, Count(schema, "maxLength", kUnbounded, place));
  if (min > max) return Bad(place.Below("maxLength"), std::to_string(max), "at least minLength");
  std::vector<RuleId> rules;
  const Json patterns = schema.value("pattern", Json::array());
  if (patterns.is_array() && patterns.size() > kPatternsMax) {
    return Bad(place.Below("pattern"), "", fmt::format("at most {} patterns", kPatternsMax));
  }
  for (const Json& pattern : patterns.is_array() ? patterns : Json::array({patterns})) {
    const SchemaPlace below = place.Below("pattern");
    if (!pattern.is_string()) return Bad(below, pattern.dump().substr(0, 100), "a string");
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Pattern(pattern, below, true));
    rules.push_back(rule);
  }
  if (schema.contains("format")) {
    const Json& format = schema["format"];
    const SchemaPlace below = place.Below("format");
    const auto known = format.is_string() ? FormatPattern(format.get<std::string>()) : std::nullopt;
    if (!known) return Bad(below, format.dump().substr(0, 100), "one of " + FormatNames());
    if (!known->empty()) {
      INHOUSE_ASSIGN_OR_RETURN(const RuleId rule, Pattern(std::string(*known), below, false));
      rules.push_back(rule);
    }
  }
  if (rules.empty()) return json_->StringOfLength(min, max);
  if (min > 0 || max != kUnbounded) rules.push_back(ShortString(min, max));
  RuleId all = rules[0];
  for (size_t i = 1; i < rules.size(); ++i) all = b_->NewBoth(all, rules[i]);
  return all;
}

absl::StatusOr<std::optional<NumberBound>> SchemaRules::Bound(const Json& schema,
                                                              const char* inclusive,
                                                              const char* exclusive,
                                                              const SchemaPlace& place) const {
  const bool lower = std::string_view(inclusive) == "minimum";
  std::optional<NumberBound> out;
  for (const char* keyword : {inclusive, exclusive}) {
    const auto found = schema.find(keyword);
    if (found == schema.end() || found->is_boolean()) continue;  // draft 4: a flag of the other
    if (!found->is_number()) {
      return Bad(place.Below(keyword), found->dump().substr(0, 100), "a number");
    }
    auto bound = ReadBound(found->dump());
    if (!bound) {
      // Beyond all numbers that are written: on the far side it is none.
      const double value = found->get<double>();
      if (std::fabs(value) >= 1e18 && (value < 0) == lower) continue;
      return Bad(place.Below(keyword), found->dump(),
                 fmt::format("a number of at most {} digits before and {} behind the point",
                             kIntegerDigits, kFractionDigits));
    }
    const bool flag = schema.value(exclusive, Json()) == true;
    bound->magnitude.excluded = keyword == exclusive || flag;
    const bool stricter = !out || (lower ? !IsLess(*bound, *out) : !IsLess(*out, *bound));
    if (stricter) out = bound;
  }
  return out;
}

absl::StatusOr<RuleId> SchemaRules::Number(const Json& schema, const SchemaPlace& place,
                                           bool integer) {
  INHOUSE_ASSIGN_OR_RETURN(const auto min, Bound(schema, "minimum", "exclusiveMinimum", place));
  INHOUSE_ASSIGN_OR_RETURN(auto max, Bound(schema, "maximum", "exclusiveMaximum", place));
  int digits = integer ? 0 : kFractionDigits;
  if (schema.contains("multipleOf")) {
    const Json& step = schema["multipleOf"];
    const int of_step = step.is_number() ? DigitsOfMultiples(step.get<double>()) : -1;
    if (of_step < 0 || (integer && of_step > 0)) {
      return Bad(place.Below("multipleOf"), step.dump().substr(0, 100),
                 integer ? "1" : "1, 0.1, 0.01, ... 0.000001");
    }
    digits = std::min(digits, of_step);
  }
  if (min && max && IsLess(*max, *min)) {
    return Bad(place.Below("maximum"), schema.dump().substr(0, 100), "at least the minimum");
  }
  if (digits > 0) {
    return !min && !max && digits == kFractionDigits ? json_->Number()
                                                     : AddNumberRule(b_, min, max, digits);
  }
  const int64_t first = min ? FirstInteger(*min) : -kIntegerMax;
  int64_t last = kIntegerMax;
  if (max) {
    max->negative = !max->negative;
    last = -FirstInteger(*max);
  }
  if (first > last)
    return Bad(place.Below("maximum"), "", "room for an integer between the bounds");
  return AddIntegerRule(b_, first, last);
}

absl::StatusOr<RuleId> SchemaRules::Array(const Json& schema, const SchemaPlace& place) {
  JsonRules::ArrayShape shape;
  INHOUSE_ASSIGN_OR_RETURN(shape.min, Count(schema, "minItems", 0, place));
  INHOUSE_ASSIGN_OR_RETURN(shape.max, Count(schema, "maxItems", kUnbounded, place));
  if (shape.min > shape.max) {
    return Bad(place.Below("maxItems"), std::to_string(shape.max), "at least minItems");
  }
  Json items = schema.value("items", Json(true));
  Json first = schema.value("prefixItems", Json::array());
  const char* first_name = "prefixItems";
  if (items.is_array()) {  // before draft 2020-12
    first = std::exchange(items, schema.value("additionalItems", Json(true)));
    first_name = "items";
  }
  if (!first.is_array()) return Bad(place.Below(first_name), first.dump(), "an array");
  for (size_t i = 0; i < first.size(); ++i) {
    INHOUSE_ASSIGN_OR_RETURN(const RuleId rule,
                             Compile(first[i], place.Below(first_name).Below(std::to_string(i))));
    shape.first.push_back(rule);
  }
  if (items == false) {
    shape.max = std::min(shape.max, static_cast<uint32_t>(first.size()));
    if (shape.min > shape.max) {
      return Bad(place.Below("minItems"), std::to_string(shape.min),
                 fmt::format("at most {}: there are no further items", shape.max));
    }
  } else if (shape.max > first.size()) {
    INHOUSE_ASSIGN_OR_RETURN(shape.rest, Compile(items, place.Below("items")));
  }
  return json_->ArrayOf(shape);
}

}  // namespace inhouse::engine
