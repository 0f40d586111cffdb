// Turns the keywords of one schema into rules; what schema_compiler.cc and schema_object.cc share.
#pragma once

#include <optional>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "engine/sampling/grammar/json_rules.h"
#include "engine/sampling/grammar/nfa.h"
#include "engine/sampling/grammar/number_rules.h"
#include "engine/sampling/grammar/schema_compiler.h"
#include "nlohmann/json.hpp"

namespace inhouse::engine {

// Where a subschema stands, for messages and for the limit of depth.
struct SchemaPlace {
  std::string path = "#";
  int depth = 0;

  SchemaPlace Below(std::string_view step) const;
};

class SchemaRules {
 public:
  using Json = nlohmann::ordered_json;

  SchemaRules(GrammarBuilder* builder, JsonRules* json, const SchemaSource& source, Json root)
      : b_(builder),
        json_(json),
        label_(source.label),
        strict_(source.strict),
        root_(std::move(root)) {}

  absl::StatusOr<RuleId> Compile(const Json& schema, const SchemaPlace& place);
  const Json& root() const { return root_; }

 private:
  absl::Status Bad(const SchemaPlace& place, std::string value, std::string expected) const;
  absl::Status CheckKeywords(const Json& schema, const SchemaPlace& place) const;

  absl::StatusOr<RuleId> CompileNew(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileRef(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileAnyOf(const Json& schema, const std::string& keyword,
                                      const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileAllOf(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileEnum(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileTypes(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> CompileType(const std::string& type, const Json& schema,
                                     const SchemaPlace& place);
  absl::StatusOr<const Json*> Resolve(const std::string& reference, const SchemaPlace& place) const;
  absl::StatusOr<Json> WithPatterns(const Json& schema, const std::string& name, const Json& value,
                                    const SchemaPlace& place);
  absl::StatusOr<Json> Merge(const Json& a, const Json& b, const SchemaPlace& place);

  absl::StatusOr<RuleId> String(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<RuleId> Pattern(const std::string& pattern, const SchemaPlace& place, bool search);
  RuleId ShortString(uint32_t min, uint32_t max);
  absl::StatusOr<RuleId> Number(const Json& schema, const SchemaPlace& place, bool integer);
  // The stricter of "minimum" and "exclusiveMinimum" (or of the maxima).
  absl::StatusOr<std::optional<NumberBound>> Bound(const Json& schema, const char* inclusive,
                                                   const char* exclusive,
                                                   const SchemaPlace& place) const;
  absl::StatusOr<RuleId> Array(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<uint32_t> Count(const Json& schema, const char* keyword, uint32_t otherwise,
                                 const SchemaPlace& place) const;

  // schema_object.cc
  struct Property {
    std::string name;
    RuleId value = 0;
    bool required = false;
  };
  struct Extra {  // properties without a name of their own
    RuleId key = 0;
    RuleId value = 0;
  };
  absl::StatusOr<RuleId> Object(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<std::vector<Property>> Properties(const Json& schema, const SchemaPlace& place);
  absl::StatusOr<std::vector<Extra>> Extras(const Json& schema,
                                            const std::vector<Property>& properties,
                                            const SchemaPlace& place);
  absl::StatusOr<RuleId> AnyKey(const Json& schema, const SchemaPlace& place);
  RuleId ObjectRule(const std::vector<Property>& properties, const std::vector<Extra>& extras);

  GrammarBuilder* b_;
  JsonRules* json_;
  std::string label_;
  bool strict_;
  const Json root_;
  std::unordered_map<std::string, RuleId> done_;  // by the schema's text
  size_t nodes_ = 0;
  size_t merge_work_ = 0;  // of all schemas that were joined
  size_t bytes_ = 0;       // of all texts of done_
};

}  // namespace inhouse::engine
