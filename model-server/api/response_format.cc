#include "model-server/api/response_format.h"

#include <array>
#include <string>
#include <utility>

#include "fmt/format.h"

namespace inhouse::model_server {
namespace {

using engine::GrammarSpec;
using Kind = engine::GrammarSpec::Kind;

constexpr size_t kNameBytesMax = 64;

GrammarSpec SchemaSpec(const Json& schema, std::string label) {
  return {.kind = Kind::kJsonSchema, .text = schema.dump(), .label = std::move(label)};
}

// A schema as an object, or as its text.
void ReadSchema(const Json& value, const std::string& param, Fields* fields, GrammarSpec* out) {
  if (value.is_string()) {
    *out = {.kind = Kind::kJsonSchema, .text = value.get<std::string>(), .label = param};
  } else if (value.is_object() || value.is_boolean()) {
    *out = SchemaSpec(value, param);
  } else {
    fields->FailType(param, "a JSON Schema", value);
  }
}

void ReadJsonSchemaFormat(const Json& format, Fields* fields, GrammarSpec* out) {
  Fields outer(format, "response_format");
  const Json* given = outer.Find("json_schema");
  if (given == nullptr) {
    return fields->FailRequired("response_format.json_schema");
  }
  if (!given->is_object()) {
    return fields->FailType("response_format.json_schema", "an object", *given);
  }
  Fields inner(*given, "response_format.json_schema");
  std::string name;
  bool strict = false;
  if (inner.Find("name") == nullptr) inner.FailRequired("name");
  inner.Text("name", &name);
  inner.Bool("strict", &strict);
  if (inner.ok() && (name.empty() || name.size() > kNameBytesMax)) {
    inner.Fail(InvalidRequest("response_format.json_schema.name", "invalid_value",
                              fmt::format("Invalid 'response_format.json_schema.name': expected 1 "
                                          "to {} bytes.",
                                          kNameBytesMax)));
  }
  const Json* schema = inner.Find("schema");
  if (inner.ok() && schema == nullptr) {
    *out = {.kind = Kind::kJsonObject};  // OpenAI: without a schema, as json_object
  } else if (inner.ok()) {
    ReadSchema(*schema, "response_format.json_schema.schema", &inner, out);
    out->strict = strict;
  }
  if (auto error = inner.TakeError()) fields->Fail(*std::move(error));
}

void ReadResponseFormat(Fields* fields, GrammarSpec* out) {
  const Json* format = fields->Find("response_format");
  if (format == nullptr) return;
  if (!format->is_object()) return fields->FailType("response_format", "an object", *format);
  Fields inner(*format, "response_format");
  std::string type;
  if (inner.Find("type") == nullptr) inner.FailRequired("type");
  inner.Text("type", &type);
  if (auto error = inner.TakeError()) return fields->Fail(*std::move(error));
  if (type == "text") return;
  if (type == "json_schema") return ReadJsonSchemaFormat(*format, fields, out);
  if (type == "json_object") {
    const Json* schema = inner.Find("schema");  // llama.cpp's and others' way
    if (schema != nullptr) return ReadSchema(*schema, "response_format.schema", fields, out);
    *out = {.kind = Kind::kJsonObject};
    return;
  }
  fields->Fail(InvalidRequest("response_format.type", "unsupported_value",
                              fmt::format("Invalid 'response_format.type': '{}'. Supported values "
                                          "are: 'text', 'json_object' and 'json_schema'.",
                                          type.substr(0, 40))));
}

void ReadChoice(const Json& value, const std::string& param, Fields* fields, GrammarSpec* out) {
  if (!value.is_array() || value.empty()) {
    return fields->FailType(param, "an array of strings that is not empty", value);
  }
  *out = {.kind = Kind::kChoice, .label = param};
  for (size_t i = 0; i < value.size(); ++i) {
    if (!value[i].is_string()) {
      return fields->FailType(fmt::format("{}[{}]", param, i), "a string", value[i]);
    }
    out->parts.push_back({.kind = Kind::kText, .text = value[i].get<std::string>()});
  }
}

void ReadText(const Json& value, Kind kind, const std::string& param, Fields* fields,
              GrammarSpec* out) {
  if (!value.is_string()) return fields->FailType(param, "a string", value);
  *out = {.kind = kind, .text = value.get<std::string>(), .label = param};
}

// One of vLLM's constraints, by the name it has in structured_outputs.
void ReadConstraint(std::string_view name, const Json& value, const std::string& param,
                    Fields* fields, GrammarSpec* out) {
  if (name == "json") return ReadSchema(value, param, fields, out);
  if (name == "regex") return ReadText(value, Kind::kRegex, param, fields, out);
  if (name == "grammar") return ReadText(value, Kind::kEbnf, param, fields, out);
  if (name == "choice") return ReadChoice(value, param, fields, out);
  if (!value.is_boolean()) return fields->FailType(param, "a boolean", value);
  if (value == true) *out = {.kind = Kind::kJsonObject};
}

constexpr std::array<std::string_view, 5> kConstraints = {"json", "regex", "choice", "grammar",
                                                          "json_object"};

}  // namespace

void ReadGrammar(Fields* fields, GrammarSpec* out) {
  std::string taken;  // the member that asked for a grammar
  const auto read = [&](const std::string& param, auto&& reader) {
    GrammarSpec spec;
    reader(&spec);
    if (spec.empty() || !fields->ok()) return;
    if (!taken.empty()) {
      return fields->Fail(InvalidRequest(
          param, "invalid_value",
          fmt::format("'{}' and '{}' both say how the answer shall look. Use one.", taken, param)));
    }
    taken = param;
    *out = std::move(spec);
  };
  read("response_format", [&](GrammarSpec* spec) { ReadResponseFormat(fields, spec); });
  for (const std::string_view name : kConstraints) {  // vLLM before 0.12
    const std::string param = fmt::format("guided_{}", name);
    const Json* value = fields->Find(param);
    if (value == nullptr) continue;
    read(param, [&](GrammarSpec* spec) { ReadConstraint(name, *value, param, fields, spec); });
  }
  const Json* outputs = fields->Find("structured_outputs");
  if (outputs == nullptr) return;
  if (!outputs->is_object()) return fields->FailType("structured_outputs", "an object", *outputs);
  if (outputs->contains("structural_tag") && !(*outputs)["structural_tag"].is_null()) {
    return fields->Fail(InvalidRequest("structured_outputs.structural_tag", "unsupported_parameter",
                                       "Unsupported parameter: 'structural_tag'. Use 'grammar'."));
  }
  for (const std::string_view name : kConstraints) {
    const auto value = outputs->find(std::string(name));
    if (value == outputs->end() || value->is_null()) continue;
    const std::string param = fmt::format("structured_outputs.{}", name);
    read(param, [&](GrammarSpec* spec) { ReadConstraint(name, *value, param, fields, spec); });
  }
}

}  // namespace inhouse::model_server
